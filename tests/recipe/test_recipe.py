import tomllib

import pytest
from recipe_mistakes import MINIMAL, problems

from offramp.recipe import Recipe, find, shipped
from offramp.search import METRICS
from offramp.training import TrainSettings


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
    assert problems(text, "deliver") == (
        "--set 'deliver': it is not of the form section.key=value",
        "data.select: 1.5 is neither a count, a whole number from 1, nor a share between 0 and 1",
        "policy.measures.0: 'luck' is unknown; allowed are max_probability, entropy, margin, gate, gate_sum",
        "policy: give either mean_macs, mean_energy_mj, mean_latency_ms, et_avg (most accuracy at that cost) "
        "or accuracy (least cost at that accuracy)",
        "search.proposer: 'guess' is unknown; allowed are random, nsga2, surrogate",
        "search.constraints.0: constraint 'mean_macs < 3' is not of the form 'METRIC <= NUMBER' or 'METRIC >= NUMBER'",
        f"search.constraints.1: constraint 'speed <= 3' names the metric 'speed'; known are {', '.join(METRICS)}",
        "sead: there is no such key; did you mean seed? (given: 1)",
        "space.stem_widths: [16, 8] must ascend, with none twice",
    )


def test_a_recipe_without_a_policy_is_told_what_to_give():
    (line,) = problems("seed = 1")
    assert line.startswith("policy: give either mean_macs")


def test_mistakes_in_the_space_are_told_together_with_unknown_keys_and_checks_of_the_whole():
    text = MINIMAL + "[space]\nstem_widht = [8]\nkernels = [5, 3]\nwidths = [[8]]\npoolings = []\nqqq = 1\n"
    found = problems(text)
    assert found[:3] == (
        "space.kernels: [5, 3] must ascend, with none twice",
        "space.poolings: it is empty; give at least one choice",
        "space.stem_widht: there is no such key; did you mean stem_widths? (given: [8])",
    )
    assert found[3].startswith("space.qqq: there is no such key; known are bits, stem_strides, stem_widths, widths,")
    assert found[4:] == (
        "space: every stage needs one entry in each of these: "
        "widths has 1, depths has 5, strides has 5, activations has 5",
    )


def test_broken_toml_is_named():
    assert "not valid TOML" in problems("[policy")[0]


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


def test_what_thresholds_are_repaired_to_follows_from_goal_and_constraints():
    by_goal = Recipe.parse(MINIMAL + 'thresholds = "repair"\n[search]\nconstraints = ["mean_macs <= 2e5"]')
    assert by_goal.bounds == (1e5, 0.0)
    text = '[policy]\naccuracy = 0.7\nthresholds = "repair"\n'
    assert "give policy.mean_macs, or a constraint" in problems(text)[0]
    assert Recipe.parse(text + '[search]\nconstraints = ["mean_macs <= 3e5", "mean_macs <= 2e5"]').bounds == (2e5, 0.7)
    of_others = '[search]\nconstraints = ["params <= 3e4", "mean_macs <= 2e5", "weight_bytes <= 1e5"]'
    assert Recipe.parse(text + of_others).bounds == (2e5, 0.7)
    both = MINIMAL + '[search]\nconstraints = ["accuracy >= 0.6", "error <= 0.25", "mean_macs >= 5"]'
    assert Recipe.parse(both).bounds == (1e5, 0.75)


@pytest.mark.parametrize(
    "text, line",
    [
        ("extend = 'digits'\n", "extend: there is no such key; did you mean extends? (given: 'digits')"),
        ("[space]\nnam = 'nachos'\n", "space.nam: there is no such key; did you mean name? (given: 'nachos')"),
        (
            "[deliver]\nbudgets = [{ name = 'a', bogus = 1 }, 3]\n",
            "deliver.budgets.0.bogus: there is no such key; leave",
        ),
        ("[deliver]\nbudgets = { name = 'a' }\n", 'deliver.budgets: must be a list of sections, such as [{ name = "s'),
        (
            "[deliver.budgets]\nname = 'a'\n",
            'deliver.budgets: must be a list of sections, such as [{ name = "small" }]',
        ),
    ],
)
def test_a_slip_is_told_with_what_was_meant(text, line):
    assert any(found.startswith(line) for found in problems(text + MINIMAL if "=" in text[:9] else MINIMAL + text))


def test_a_short_search_needs_no_word_on_how_it_begins():
    assert Recipe.parse(MINIMAL + "[search]\nevaluations = 10").search.initial == 10
    assert Recipe.parse(MINIMAL + "[search]\nevaluations = 100").search.initial == 32
    assert (
        "initial is 12, more than evaluations, 10" in problems(MINIMAL + "[search]\nevaluations = 10\ninitial = 12")[0]
    )
