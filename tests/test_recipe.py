import tomllib

import pytest

from offramp.recipe import Recipe, RecipeError, differences, find, shipped
from offramp.training import TrainSettings

MINIMAL = "[policy]\nmean_macs = 1e5\n"


def problems(text, *overrides):
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(text, overrides=overrides)
    return caught.value.problems


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_recipes_are_valid_and_begin_with_their_command(name):
    Recipe.load(find(name))
    assert shipped()[name].read_text().startswith(f"# offramp run recipes/{name}.toml")


def test_defaults_survive_a_round_trip():
    recipe = Recipe.parse(MINIMAL)
    assert Recipe.parse(recipe.to_toml()) == recipe


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_recipes_survive_a_round_trip(name):
    recipe = Recipe.load(find(name))
    assert Recipe.parse(recipe.to_toml()) == recipe


def test_every_mistake_is_reported_at_once_by_its_path():
    text = """
    sead = 1
    [data]
    select = 1.5
    [space]
    name = "offramp"
    stem_widths = [16, 8]
    [policy]
    measures = ["luck"]
    mean_macs = 1e5
    accuracy = 0.9
    [search]
    constraints = ["mean_macs < 3", "speed <= 3"]
    proposer = "guess"
    """
    found = "\n".join(problems(text))
    for path in ("sead", "data.select", "space: stem_widths", "policy.measures.0", "search.constraints.0"):
        assert path in found
    assert "search.constraints.1" in found
    assert "'guess' is unknown; allowed are random, nsga2, surrogate" in found


def test_two_goals_and_none_are_refused():
    assert "either mean_macs" in problems("[policy]\n")[0]
    assert "either mean_macs" in problems("[policy]\nmean_macs = 1.0\naccuracy = 0.5")[0]


def test_missing_policy_is_named():
    assert problems("seed = 1")[0].startswith("policy:")


def test_broken_toml_is_named():
    assert "not valid TOML" in problems("[policy")[0]


@pytest.mark.parametrize(
    "override, value",
    [("search.evaluations=64", 64), ("search.evaluations = 64", 64)],
)
def test_overrides_reach_their_key(override, value):
    assert Recipe.parse(MINIMAL, overrides=[override]).search.evaluations == value


def test_a_bare_word_overrides_a_string():
    assert Recipe.parse(MINIMAL, overrides=["data.name=cifar10"]).data.name == "cifar10"


@pytest.mark.parametrize("override", ["search.evaluations", "=3", "seed.x=1", "search..x=2"])
def test_malformed_overrides_are_refused(override):
    assert problems("seed = 1\n" + MINIMAL, override)


def test_initial_beyond_evaluations_is_refused():
    assert "initial is 9" in problems(MINIMAL + "[search]\ninitial = 9\nevaluations = 5\n")[0]


def test_budget_names_must_differ_and_be_folder_names():
    twice = MINIMAL + '[deliver]\nbudgets = [{name = "a"}, {name = "a", mean_macs = 2.0}]\n'
    assert "every budget's name may be given once; more often are a" in problems(twice)[0]
    assert "deliver.budgets.0.name" in problems(MINIMAL + '[deliver]\nbudgets = [{name = "../a"}]\n')[0]


def test_unknown_recipe_lists_the_known_ones():
    with pytest.raises(RecipeError, match="digits"):
        find("no-such-recipe")


def test_differences_name_paths_and_values():
    old, new = tomllib.loads("a = 1\n[b]\nc = 2"), tomllib.loads("a = 1\n[b]\nc = 3\nd = 4")
    assert differences(old, new) == ["b.c: 2 then, 3 now", "b.d: None then, 4 now"]


def test_names_that_are_repeated_here_are_those_of_the_search():
    from offramp import recipe
    from offramp.search import PROPOSERS
    from offramp.search.proposers.surrogate import PREDICT
    from offramp.search.surrogates import SURROGATES

    assert recipe._PROPOSERS == PROPOSERS
    assert recipe._SURROGATES == SURROGATES
    assert recipe._PREDICT == PREDICT


def test_one_line_chooses_the_evaluator_and_the_recipe_then_tells_the_schedule():
    assert Recipe.parse(MINIMAL).finetune is None
    recipe = Recipe.parse(MINIMAL, overrides=["search.evaluator=fine-tune"])
    assert recipe.finetune == TrainSettings()
    assert tomllib.loads(recipe.to_toml())["finetune"]["joint_epochs"] == TrainSettings().joint_epochs
    assert Recipe.parse(recipe.to_toml()) == recipe
    chosen = Recipe.parse(
        MINIMAL + '[search]\nevaluator = "fine-tune"\n[finetune]\njoint_epochs = 3\ninherit = false\n'
    )
    assert (chosen.finetune.joint_epochs, chosen.finetune.inherit) == (3, False)


def test_a_schedule_without_its_evaluator_is_refused():
    found = problems(MINIMAL + "[finetune]\njoint_epochs = 3\n")
    assert len(found) == 1
    assert "[finetune] is of no use with search.evaluator = 'one-shot'" in found[0]
    wrong = problems(MINIMAL + '[search]\nevaluator = "fine-tune"\n[finetune]\nepochs = 3\nlr = -1\n')
    assert "finetune.lr" in "\n".join(wrong)
    assert "finetune.epochs: there is no such key" in "\n".join(wrong)


def test_evaluator_surrogate_and_domination_are_checked():
    found = "\n".join(problems(MINIMAL + '[search]\nevaluator = "guess"\nsurrogate = "luck"\ndomination = "none"\n'))
    assert "search.evaluator: 'guess' is unknown; allowed are one-shot, fine-tune" in found
    assert "search.surrogate: 'luck' is unknown; allowed are gp, rbf, trees, mlp, auto" in found
    assert "search.domination: 'none' is unknown; allowed are feasibility, penalty" in found


@pytest.mark.parametrize("constraints", [[], ["params <= 2e5"], ["mean_macs >= 1e3", "accuracy >= 0.65"]])
def test_a_penalty_needs_a_bound_on_an_objective(constraints):
    text = MINIMAL + f'[search]\ndomination = "penalty"\nconstraints = {constraints}\n'
    assert "needs a bound on an objective" in problems(text)[0]
    Recipe.parse(text.replace("constraints = [", 'constraints = ["mean_macs <= 2.7e6", '))


def test_a_way_to_set_thresholds_is_checked():
    assert Recipe.parse(MINIMAL).policy.thresholds == "tuned"
    assert problems(MINIMAL + 'thresholds = "guessed"')[0].endswith("allowed are tuned, genes, repair, grid")
    assert "space 'offramp' has no thresholds among its genes" in problems(MINIMAL + 'thresholds = "genes"')[0]
    assert Recipe.parse(MINIMAL + 'thresholds = "genes"\n[space]\nname = "edanas"').policy.thresholds == "genes"


def test_what_thresholds_are_repaired_to_follows_from_goal_and_constraints():
    by_goal = Recipe.parse(MINIMAL + 'thresholds = "repair"\n[search]\nconstraints = ["mean_macs <= 2e5"]')
    assert by_goal.bounds == (1e5, 0.0)
    text = '[policy]\naccuracy = 0.7\nthresholds = "repair"\n'
    assert "give policy.mean_macs, or a constraint" in problems(text)[0]
    assert Recipe.parse(text + '[search]\nconstraints = ["mean_macs <= 3e5", "mean_macs <= 2e5"]').bounds == (2e5, 0.7)
    both = MINIMAL + '[search]\nconstraints = ["accuracy >= 0.6", "error <= 0.25", "mean_macs >= 5"]'
    assert Recipe.parse(both).bounds == (1e5, 0.75)


def test_the_papers_grid_needs_margins_and_a_target_of_mean_macs():
    (found,) = problems(MINIMAL + 'thresholds = "grid"')
    assert found.startswith("policy.thresholds: 'grid' scores margins against a target of mean MACs")
    assert found.endswith("(given: goal mean_macs and measures max_probability)")
    (found,) = problems('[policy]\naccuracy = 0.7\nmeasures = ["margin"]\nthresholds = "grid"')
    assert found.endswith("(given: goal accuracy and measures margin)")
    assert Recipe.parse(MINIMAL + 'measures = ["margin"]\nthresholds = "grid"').policy.thresholds == "grid"


def test_nothing_is_infinite_or_wanted_twice():
    assert problems("[policy]\nmean_macs = inf") == ("policy.mean_macs: Input should be a finite number (given: inf)",)
    (found,) = problems(MINIMAL + '[search]\nobjectives = ["error", "params", "error"]')
    assert found == "search.objectives: every objective may be given once; more often are error"
    (found,) = problems(MINIMAL + "[search]\nconstraints = [3]")
    assert found.startswith("search.constraints.0: Input should be a valid string")
    (found,) = problems(MINIMAL + "[deliver]\nseeds = [2, 1, 2]")
    assert found == "deliver.seeds: every seed may be given once; more often are 2"
    # Both would be trained in the folder static-2.44M.
    (found,) = problems(MINIMAL + "[deliver]\nstatic_macs = [2.44e6, 2.4401e6]")
    assert found.endswith("more often are 2.44e+06")


@pytest.mark.parametrize("name", ["static-1M", "small-seed1"])
def test_a_budget_may_not_take_another_networks_folder(name):
    assert f"'{name}' may not begin with" in problems(MINIMAL + f'[deliver]\nbudgets = [{{ name = "{name}" }}]')[0]


def written(folder, **recipes):
    for name, text in recipes.items():
        (folder / f"{name}.toml").write_text(text)
    return folder / f"{next(iter(recipes))}.toml"


def test_a_recipe_is_laid_over_the_one_it_extends(tmp_path):
    path = written(
        tmp_path,
        top='extends = "middle.toml"\n[search]\nconstraints = []\n[train]\nlr = 0.3\n',
        middle='extends = "digits"\nseed = 7\n[search]\nevaluations = 99\n[train]\nlr = 0.4\nbatch = 32\n',
    )
    recipe, base = Recipe.load(path, ["search.initial=5"]), Recipe.load(find("digits"))
    assert (recipe.seed, recipe.train.lr, recipe.train.batch) == (7, 0.3, 32)
    assert (recipe.search.constraints, recipe.search.evaluations, recipe.search.initial) == ((), 99, 5)
    assert recipe.space == base.space
    assert recipe.deliver == base.deliver
    assert "extends" not in recipe.to_toml()
    assert Recipe.parse(recipe.to_toml()) == recipe


def test_a_file_beside_the_recipe_goes_before_one_that_is_shipped(tmp_path):
    path = written(tmp_path, digits=MINIMAL.replace("1e5", "7"), mine='extends = "digits.toml"').with_name("mine.toml")
    assert Recipe.load(path).policy.mean_macs == 7
    assert Recipe.parse('extends = "digits"').policy.mean_macs == 2.5e4


def test_mistakes_in_what_is_extended_are_named(tmp_path):
    (problem,) = problems('extends = "no-such-recipe"')
    assert problem.startswith("extends: no-such-recipe: no such file, and no recipe of that name; known are aebnas")
    assert problems("extends = 3") == ("extends: 3 is not the name or path of a recipe",)
    path = written(tmp_path, one='extends = "two.toml"', two='extends = "three.toml"', three='extends = "two.toml"')
    with pytest.raises(RecipeError, match="extends: a circle, one -> two -> three -> two"):
        Recipe.load(path)
    with pytest.raises(RecipeError, match="a circle, me -> me"):
        Recipe.load(written(tmp_path, me='extends = "me.toml"'))
    with pytest.raises(RecipeError, match=r"broken\.toml is not valid TOML"):
        Recipe.load(written(tmp_path, child='extends = "broken.toml"', broken="[policy"))
    with pytest.raises(RecipeError, match=r"space\.depth: there is no such key"):
        Recipe.load(written(tmp_path, child='extends = "base.toml"', base=MINIMAL + "[space]\ndepth = 3"))


@pytest.mark.parametrize("name", ["no-constraint", "no-peak", "no-cost"])
def test_the_ablations_differ_from_nachos_where_they_say(name):
    whole, ablation = (
        tomllib.loads(Recipe.load(find(recipe)).to_toml()) for recipe in ("nachos-cifar10", f"nachos-cifar10-{name}")
    )
    free = {"policy.mean_macs", "search.constraints", "gates.weight_cost", "deliver.budgets"}
    changed = {line.split(":")[0] for line in differences(whole, ablation)}
    assert changed == {"no-constraint": free, "no-peak": {"gates.weight_peak"}, "no-cost": {"gates.weight_cost"}}[name]
