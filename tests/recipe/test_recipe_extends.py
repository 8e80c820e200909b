import pytest
from recipe_mistakes import MINIMAL, problems

from offramp.recipe import Recipe, RecipeError, find


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


def test_a_goal_takes_the_place_of_the_one_before(tmp_path):
    """Two would contradict each other, and a key of the base cannot be taken away."""
    base = "[hardware]\ndevice = 'edge-tpu'\n[policy]\naccuracy = 0.9\ncost = 'mean_energy_mj'\nmac_rule = 'paper'\n"
    path = written(tmp_path, top="extends = 'base.toml'\n[policy]\nmean_latency_ms = 0.2\n", base=base)
    for recipe in (Recipe.load(path), Recipe.parse(base, overrides=["policy.mean_latency_ms=0.2"])):
        assert recipe.policy.budget == ("mean_latency_ms", 0.2)
        assert (recipe.policy.accuracy, recipe.policy.cost, recipe.policy.mac_rule) == (None, None, "paper")
        assert recipe.search.constraints == ("mean_latency_ms <= 0.2",)
        assert recipe.deliver.budgets[0].budget == ("mean_latency_ms", 0.2)
    more = Recipe.parse(base, overrides=["policy.accuracy=0.8"])
    assert (more.policy.accuracy, more.policy.cost) == (0.8, "mean_energy_mj")
    assert Recipe.parse(base).overridden(["policy.et_avg=3"]).policy.budget == ("et_avg", 3.0)
    assert Recipe.parse(base, overrides=["policy.mac_rule=executed"]).policy.accuracy == 0.9
    (found,) = problems(base, "policy.mean_macs=1e6", "policy.et_avg=3")
    assert found.startswith("policy: give either mean_macs")
    (found,) = problems(base, "policy.mean_macs")
    assert "not of the form section.key=value" in found
    (found,) = problems(base, "policy.mean_macs=few")
    assert found.startswith("policy.mean_macs")


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
