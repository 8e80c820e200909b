"""What one section needs of another; devices have a file of their own."""

import pytest
from recipe_mistakes import MINIMAL, problems

from offramp.recipe import Recipe
from offramp.spaces import SPACES, space


def test_a_way_to_set_thresholds_is_checked():
    assert Recipe.parse(MINIMAL).policy.thresholds == "tuned"
    assert problems(MINIMAL + 'thresholds = "guessed"')[0].endswith("allowed are tuned, genes, repair, grid")
    assert "space 'offramp' has no thresholds among its genes" in problems(MINIMAL + 'thresholds = "genes"')[0]
    assert Recipe.parse(MINIMAL + 'thresholds = "genes"\n[space]\nname = "edanas"').policy.thresholds == "genes"


def test_the_papers_grid_needs_margins_and_a_target_of_mean_macs():
    (found,) = problems(MINIMAL + 'thresholds = "grid"')
    assert found.startswith("policy.thresholds: 'grid' scores margins against a target of mean MACs")
    assert found.endswith("(given: goal mean_macs and measures max_probability)")
    (found,) = problems('[policy]\naccuracy = 0.7\nmeasures = ["margin"]\nthresholds = "grid"')
    assert found.endswith("(given: goal accuracy and measures margin)")
    assert Recipe.parse(MINIMAL + 'measures = ["margin"]\nthresholds = "grid"').policy.thresholds == "grid"


GATED = [name for name in SPACES if space(name, (3, 32, 32), 10).largest().gated]


def gates_of(name: str) -> str:
    return f'[space]\nname = "{name}"\n[policy]\nmeasures = ["gate", "gate_sum"]\nmean_macs = 1e6\n'


def test_a_space_without_gates_is_told_before_anything_runs():
    (problem,) = problems(gates_of("offramp"))
    assert problem.startswith(
        "policy.measures: gate, gate_sum reads the exits' gates, and the exits of space 'offramp'"
    )
    (problem,) = problems(MINIMAL + "[gates]\nmax_macs = 1e6\n")
    assert problem == "gates: the exits of space 'offramp' have no gates; drop the section"


@pytest.mark.parametrize("name", GATED)
def test_a_space_with_gates_may_ask_for_them(name):
    assert Recipe.parse(gates_of(name)).policy.measures == ("gate", "gate_sum")


def test_a_target_is_asked_for_where_a_metric_measures_the_distance_to_it():
    text = '[search]\nobjectives = ["error", "maep"]\nconstraints = ["maep <= 0.1"]\n[policy]\n'
    assert problems(text + "accuracy = 0.7") == (
        "search.objectives.1: maep needs the target policy.mean_macs",
        "search.constraints.0: maep needs the target policy.mean_macs",
    )
    assert Recipe.parse(text + "mean_macs = 1e5").search.objectives == ("error", "maep")


def test_all_that_is_missing_is_told_in_order():
    text = """
    [policy]
    measures = ["gate"]
    et_avg = 3.0
    thresholds = "genes"
    [search]
    objectives = ["error", "maep"]
    """
    paths = [problem.partition(":")[0] for problem in problems(text)]
    assert paths == ["policy.measures", "policy", "search.objectives.1", "policy.thresholds"]
