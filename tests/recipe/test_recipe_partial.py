"""One mistake hides no other, and makes none up."""

import pytest
from recipe_mistakes import MINIMAL, problems

from offramp.recipe import Budget, PolicySection
from offramp.recipe._partial import answers, read

PENALTY = MINIMAL + "[search]\ndomination = 'penalty'\n"


def paths(text, *overrides):
    return [problem.split(": ")[0] for problem in problems(text, *overrides)]


@pytest.mark.parametrize(
    "text, expected",
    [
        ('[policy]\nmeasures = ["luck"]\nmean_macs = 1.0\naccuracy = 0.5', ["policy.measures.0", "policy"]),
        (MINIMAL + '[search]\nobjectives = ["luck"]\ninitial = 9\nevaluations = 5', ["search.objectives.0", "search"]),
        (
            MINIMAL + '[search]\ninitial = 9\nevaluations = 5\nconstraints = ["params <= 1", "params >= 2"]',
            ["search", "search"],
        ),
        (MINIMAL + '[space]\nname = "nachos"\n[gates]\nlr = -1\nphases = [0, 0, 0]', ["gates.lr", "gates"]),
        (MINIMAL + '[data]\nname = "folder"\nseed = -1\nsize = [0, 8]', ["data.seed", "data.size.0", "data"]),
        (
            MINIMAL
            + '[deliver]\nbudgets = [{ name = "a" }, { name = "../b", mean_macs = 1, et_avg = 2 }, {name = "a"}]'
            '\n[hardware]\ndevice = "edge-tpu"',
            ["deliver.budgets.1.name", "deliver.budgets.1", "deliver"],
        ),
        (MINIMAL + "[deliver]\nbudgets = []\nseeds = [1, 1]", ["deliver.budgets", "deliver.seeds"]),
    ],
)
def test_a_section_is_checked_as_a_whole_although_a_value_is_wrong(text, expected):
    assert paths(text) == expected


def test_sections_are_checked_against_each_other_although_one_is_wrong():
    text = """
    [train]
    lr = -1
    [gates]
    [finetune]
    [policy]
    measures = ["gate"]
    accuracy = 0.7
    thresholds = "genes"
    [search]
    proposer = "guess"
    objectives = ["error", "maep"]
    constraints = ["mean_energy_mj <= 1"]
    [deliver]
    budgets = [{ name = "a", et_avg = -1 }, { name = "b", et_avg = 1 }]
    """
    assert paths(text) == [
        "search.proposer", "train.lr", "deliver.budgets.0.et_avg", "recipe", "policy.measures", "gates",
        "search.constraints.0", "deliver.budgets.1", "search.objectives.1", "policy.thresholds",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text, path",
    [
        # What is asked for is there, if wrong: that it is missing would be a second line.
        ("[policy]\nmean_macs = -1", "policy.mean_macs"),
        ("[policy]\nmean_macs = -1\n[search]\nobjectives = ['error', 'maep']", "policy.mean_macs"),
        (MINIMAL + "[search]\ninitial = -1\nevaluations = 5", "search.initial"),
        (PENALTY + "objectives = ['luck']\nconstraints = ['params <= 1']", "search.objectives.0"),
        (PENALTY + "constraints = ['mean_macs < 1']", "search.constraints.0"),
        (
            "[policy]\nthresholds = 'repair'\naccuracy = 0.5\n[search]\nconstraints = ['mean_macs < 1']",
            "search.constraints.0",
        ),
        ("[policy]\nthresholds = 'grid'\nmeasures = ['luck']\nmean_macs = 1.0", "policy.measures.0"),
        ("[policy]\net_avg = 1\n[hardware]\ndevice = 'toaster'", "hardware.device"),
        ("[policy]\net_avg = 1\n[hardware]\nmapping = 'wait'", "hardware.device"),
        ("hardware = 3\n[policy]\net_avg = 1", "hardware"),
        (MINIMAL + "[finetune]\n[search]\nevaluator = 'guess'", "search.evaluator"),
        (MINIMAL + "[gates]\n[space]\nname = 'nowhere'", "space.name"),
        (MINIMAL + "[gates]\n[space]\ndepth = 3", "space.depth"),
        (MINIMAL + "[data]\nname = 'fodler'\nsize = [8, 8]", "data.name"),
        ("policy = 3", "policy"),
        ("[search]\nobjectives = ['error', 'maep']", "policy"),
    ],
)
def test_a_mistake_makes_no_other(text, path):
    assert paths(text) == [path]


def test_a_wrong_entry_does_not_make_its_list_empty():
    (found,) = problems('[policy]\nmean_macs = 1\nmeasures = ["luck"]')
    assert found.startswith("policy.measures.0: 'luck' is unknown")


def test_what_is_wrong_is_left_out_and_the_rest_is_as_ever():
    section, found = read(PolicySection, {"mean_macs": 5, "measures": ["luck"], "thresholds": "repair"}, "policy")
    assert found[0].startswith("policy.measures.0: 'luck' is unknown")
    assert (section.budget, section.thresholds, section.mac_rule) == (("mean_macs", 5.0), "repair", "executed")
    with pytest.raises(AttributeError):
        _ = section.measures
    assert read(PolicySection, {"mean_macs": 5}) == (PolicySection(mean_macs=5), [])
    assert read(Budget, 3, "deliver")[0] is None


def test_a_mistake_in_a_check_is_not_taken_for_a_wrong_value():
    section, _ = read(PolicySection, {"mean_macs": 5, "measures": ["luck"]})
    assert answers(lambda policy: [policy.measures], section) == []
    with pytest.raises(AttributeError, match="measure"):
        answers(lambda policy: [policy.measure], section)


def test_a_section_made_in_python_is_checked_as_ever():
    with pytest.raises(ValueError, match="either mean_macs"):
        PolicySection(mean_macs=1, accuracy=0.5)
