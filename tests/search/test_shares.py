"""Where samples leave, predicted; and costs that follow from it."""

import numpy as np
import pytest
import synthetic_networks as synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from offramp.search import Evaluation, Problem, Trial, proposer
from offramp.search.costs import Costs
from offramp.search.features import Features
from offramp.search.proposers.surrogate import Predictor
from offramp.search.sampling import draw
from offramp.search.shares import ShareModel
from offramp.search.surrogates import SURROGATES, tau

COSTS = Costs()


def problem_of(space, *constraints: str, objectives=("error", "mean_macs"), leaving=COSTS.leaving) -> Problem:
    return Problem(space, objectives, constraints, COSTS.known, leaving)


def trials_of(problem: Problem, count: int, seed: int = 0) -> list[Trial]:
    made = []
    for number, genotype in enumerate(draw(problem, count, np.random.default_rng(seed))):
        candidate = problem.space.decode(genotype)
        result = synthetic.evaluate(candidate)
        violation = problem.violation(result.metrics)
        made.append(Trial(number, genotype, candidate, result, "test", 0, violation))
    return made


def exits_and_shares(trials):
    exits = [trial.candidate.architecture.exits for trial in trials]
    return exits, [trial.evaluation.extra["utilisation"] for trial in trials]


def checked(shares, exits) -> None:
    for s, e in zip(shares, exits, strict=True):
        assert s.shape == (len(e),)
        assert (s >= 0).all()
        assert s.sum() == pytest.approx(1)


@pytest.mark.parametrize("model", ["gp", "trees"])
def test_shares_that_a_gene_decides_are_learned(small, model) -> None:
    """Networks of which none was seen, with shares that follow from the stage of their exits alone."""
    rng = np.random.default_rng(0)
    exits = [(*(i for i in range(3) if rng.random() < 0.6), 3) for _ in range(80)]
    x = np.array([[float(i in e) for i in range(3)] for e in exits])
    left_by = np.array([0.2, 0.5, 0.7, 1.0])
    shares = [np.diff(np.concatenate([[0], left_by[list(e)]])) for e in exits]
    found = ShareModel(model, x[:60], exits[:60], shares[:60]).predict(x[60:], exits[60:])
    checked(found, exits[60:])
    for s, expected in zip(found, shares[60:]):
        assert s == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("model", SURROGATES)
def test_they_rank_unseen_networks_by_mean_cost(small, model) -> None:
    problem = problem_of(small)
    trials = trials_of(problem, 90)
    x = Features(problem)([trial.genotype for trial in trials])
    exits, shares = exits_and_shares(trials)
    found = ShareModel(model, x[:60], exits[:60], shares[:60]).predict(x[60:], exits[60:])
    checked(found, exits[60:])
    leaving = [COSTS.leaving(trial.candidate.architecture)["mean_macs"] for trial in trials[60:]]
    means = np.array([np.dot(s, costs) for s, costs in zip(found, leaving)])
    assert tau(means, np.array([trial.metrics["mean_macs"] for trial in trials[60:]])) > 0.8


ROWS = st.lists(st.tuples(*[st.floats(-1e9, 1e9) | st.just(np.nan) | st.just(1.0)] * 3), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.data())
def test_odd_points_never_end_a_search(rows, data) -> None:
    """Constant and equal features, NaN in features and shares, shares that are missing, exits never seen before."""
    sets = st.sets(st.integers(0, 5), max_size=4).map(lambda early: (*sorted(early), 6))
    x = np.array(rows)
    exits = [data.draw(sets) for _ in rows]
    shares = [data.draw(st.sampled_from([np.full(len(e), 1 / len(e)), [np.nan] * len(e), ()])) for e in exits]
    found = ShareModel(data.draw(st.sampled_from(["gp", "rbf", "trees", "mlp"])), x, exits, shares)
    others = [data.draw(sets) for _ in rows]
    checked(found.predict(x, others), others)


def test_auto_chooses_one_model_for_all_stages(small) -> None:
    problem = problem_of(small)
    trials = trials_of(problem, 24)
    x = Features(problem)([trial.genotype for trial in trials])
    found = ShareModel("auto", x, *exits_and_shares(trials))
    assert found.name in found.ranks
    assert {model.name for model in found._fitted} == {found.name}


def test_the_proposer_computes_means_from_shares_and_exact_costs(small) -> None:
    problem = problem_of(small, "accuracy >= 0.1")
    trials = trials_of(problem, 30)
    others = [trial.genotype for trial in trials_of(problem, 12, seed=5)]
    predict = Predictor(problem, trials, "gp", 0, shares=True)
    values = predict.values(others)
    assert set(values) == {"error", "mean_macs"}  # accuracy is what is left of the error
    shares = predict._shares.predict(Features(problem)(others), [problem.leaving(g)[0] for g in others])
    for genotype, s, mean in zip(others, shares, values["mean_macs"]):
        assert mean == pytest.approx(np.dot(s, COSTS.leaving(small.decode(genotype).architecture)["mean_macs"]))
        costs = COSTS.leaving(small.decode(genotype).architecture)["mean_macs"]
        assert min(costs) <= mean <= max(costs)


@pytest.mark.parametrize("model, constraints", [("gp", ()), ("auto", ("mean_macs <= 3e5", "error <= 0.5"))])
def test_proposals_are_new_and_the_report_tells_how_well_it_predicts(small, model, constraints) -> None:
    problem, told = problem_of(small, *constraints), []
    options = {"generations": 3, "population": 16, "model": model, "predict": "shares", "report": told.append}
    trials = trials_of(problem, 15)
    found = proposer("surrogate", problem, **options).propose(trials, 4, np.random.default_rng(0))
    assert len(set(found) - {trial.genotype for trial in trials}) == 4
    surrogates = told[0]["surrogates"]
    assert set(surrogates) == {"error", "mean_macs"}
    assert surrogates["mean_macs"]["from"] == "shares"
    assert "from" not in surrogates["error"]
    assert ("tau" in surrogates["mean_macs"]) == (model == "auto")
    if model == "gp":  # whose fit has no chance in it
        predict = Predictor(problem, trials[:12], "gp", 0, shares=True)
        predicted = predict.values([trial.genotype for trial in trials[12:]])
        for name, metric in surrogates.items():
            assert metric["tau_newest"] == tau(predicted[name], np.array([t.metrics[name] for t in trials[12:]]))


def test_too_few_trials_tell_no_tau(small) -> None:
    problem, told = problem_of(small), []
    maker = proposer("surrogate", problem, generations=2, population=8, report=told.append)
    maker.propose(trials_of(problem, 9), 2, np.random.default_rng(0))
    assert not any("tau_newest" in metric for metric in told[0]["surrogates"].values())


def test_evaluations_without_shares_do_not_end_a_search(small) -> None:
    problem = problem_of(small)
    bare = [
        Trial(t.number, t.genotype, t.candidate, Evaluation(t.metrics), "test", 0, 0.0) for t in trials_of(problem, 12)
    ]
    maker = proposer("surrogate", problem, generations=2, population=8, predict="shares")
    assert len(maker.propose(bare, 3, np.random.default_rng(0))) == 3


def test_what_cannot_be_asked_for(small) -> None:
    with pytest.raises(ValueError, match="known are objectives, shares"):
        proposer("surrogate", problem_of(small), predict="luck")
    with pytest.raises(ValueError, match="does not tell what leaving at each exit costs"):
        proposer("surrogate", problem_of(small, leaving=None), predict="shares")
