"""What a candidate costs: benchmarks/candidate_cost.py, and that nothing is predicted twice."""

from pathlib import Path
from time import process_time

import numpy as np
import pytest
import synthetic_networks as synthetic

from offramp.search import Evaluation, Problem, Trial, analytic_costs
from offramp.search.proposers.surrogate import Predictor
from offramp.search.sampling import draw

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RECIPE = """
[data]
name = "digits"
limit = 200
[space]
name = "edanas"
width = 0.25
depths = [1]
thresholds = [0.1, 1.0]
[policy]
measures = ["margin"]
mean_macs = 1e6
[search]
evaluations = 10
initial = 6
batch = 2
images = 50
statistics_images = 50
"""


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import candidate_cost

    return candidate_cost


def spend(seconds: float) -> None:
    begin = process_time()
    while process_time() - begin < seconds:
        pass


def test_a_part_inside_another_counts_for_itself_only(script):
    clock = script.Clock()
    with clock.part("outer"):
        spend(0.02)
        clock.timed("inner", spend)(0.06)
        with pytest.raises(KeyError), clock.part("inner"):
            raise KeyError
        spend(0.02)
    assert clock.seconds["inner"] == pytest.approx(0.06, abs=0.015)
    assert clock.seconds["outer"] == pytest.approx(0.04, abs=0.015)


def test_the_parts_of_a_candidate_are_all_there_and_add_up(script, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    row = script.measured(str(path), 2)
    seconds = row["seconds_by_part"]
    assert set(seconds) == {*script.PARTS, "surrogate"}
    assert all(value > 0 for value in seconds.values())
    assert sum(seconds.values()) == pytest.approx(row["seconds"])
    assert sum(row["share_by_part"].values()) == pytest.approx(1)
    assert row["overhead"] == pytest.approx(1 - (seconds["batch norms"] + seconds["inference"]) / row["seconds"])
    assert (row["n"], row["statistics_images"], row["candidates"]) == (50, 50, 2)
    # Of ten candidates two batches are proposed, the first from six trials and the last from eight.
    assert list(row["seconds_a_batch_proposed"]) == ["6", "8"]
    assert seconds["surrogate"] == pytest.approx(np.mean(list(row["seconds_a_batch_proposed"].values())) * 2 / 10)


def test_accuracy_is_not_predicted_beside_error(small):
    problem = Problem(small, synthetic.OBJECTIVES, ("accuracy >= 0.5", "error <= 0.6"), analytic_costs)
    trials = []
    for number, genotype in enumerate(draw(problem, 24, np.random.default_rng(0))):
        candidate = small.decode(genotype)
        found = synthetic.evaluate(candidate).metrics
        result = Evaluation({**found, "accuracy": 1 - found["error"]})
        trials.append(Trial(number, genotype, candidate, result, "test", 0, 0.0))
    predict = Predictor(problem, trials, "gp", 0)
    assert "accuracy" not in predict.chosen
    genotypes = draw(problem, 10, np.random.default_rng(1))
    losses, violations = predict(genotypes)
    error = losses[:, problem.objectives.index("error")]
    accuracy, bound = problem.constraints
    assert violations[:, 0] == pytest.approx([accuracy.violation({"accuracy": 1 - e}) for e in error])
    assert violations[:, 1] == pytest.approx([bound.violation({"error": e}) for e in error])
    alone = Problem(small, ("accuracy", "mean_macs"), (), analytic_costs)
    assert "accuracy" in Predictor(alone, trials, "gp", 0).chosen
