import numpy as np
import pytest
import synthetic_networks as synthetic
from hypothesis import given
from hypothesis import strategies as st
from pymoo.core.population import Population

from offramp.search import Problem, Trial, analytic_costs, proposer
from offramp.search.evolution import GenotypeProblem, PenaltySurvival
from offramp.search.penalty import capped, penalised, remaining
from offramp.search.sampling import draw

MACS = st.lists(st.floats(0, 1e9), min_size=1, max_size=20).map(np.array)


@given(MACS, st.floats(0, 1e9))
def test_early_it_ignores_costs_below_the_limit_and_late_it_is_the_cost(macs, bound) -> None:
    early = penalised(macs, bound, 0.0)
    assert (early[macs <= bound] == 0).all()
    assert early[macs > bound] == pytest.approx(macs[macs > bound] - bound)
    assert penalised(macs, bound, 1.0) == pytest.approx(macs)


@given(MACS, st.floats(0, 1e9), st.floats(0, 1))
def test_more_macs_are_never_better(macs, bound, phi) -> None:
    found = penalised(np.sort(macs), bound, phi)
    assert (np.diff(found) >= -1e-6).all()


def survived(
    toy, macs: list[float], errors: list[float], bound: float, keep: int
) -> tuple[PenaltySurvival, Population]:
    problem = GenotypeProblem(Problem(toy, ("error", "mean_macs"), (f"mean_macs <= {bound}",)), constraints=0)
    population = Population.new("X", np.arange(len(macs))[:, None], "F", np.column_stack([errors, macs]))
    survival = PenaltySurvival({1: bound})
    return survival, survival.do(problem, population, n_survive=keep, random_state=np.random.default_rng(0))


def test_while_nothing_keeps_the_bound_the_excess_is_minimised(toy) -> None:
    survival, left = survived(toy, [30.0, 20.0, 40.0], [0.1, 0.2, 0.05], bound=10, keep=3)
    assert survival.phi == {1: 0.0}
    assert sorted(left.get("F")[:, 1]) == [10, 20, 30]


def test_when_all_keep_the_bound_the_macs_are_minimised(toy) -> None:
    survival, left = survived(toy, [3.0, 2.0, 4.0], [0.1, 0.2, 0.05], bound=10, keep=3)
    assert survival.phi == {1: 1.0}
    assert sorted(left.get("F")[:, 1]) == [2, 3, 4]


def test_phi_is_of_this_generation_and_everybody_is_judged_anew_by_it(toy) -> None:
    survival, left = survived(toy, [5.0, 30.0], [0.5, 0.1], bound=10, keep=2)
    assert survival.phi == {1: 0.5}
    assert sorted(left.get("F")[:, 1]) == [2.5, 0.5 * 30 + 0.5 * 20]
    child = Population.new("X", np.array([[9], [8]]), "F", np.array([[0.4, 4.0], [0.3, 6.0]]))
    problem = GenotypeProblem(Problem(toy, ("error", "mean_macs")), constraints=0)
    merged = Population.merge(left, child)
    again = survival.do(problem, merged, n_survive=4, random_state=np.random.default_rng(0))
    assert survival.phi == {1: 0.75}
    assert sorted(again.get("F")[:, 1]) == [3, 3.75, 4.5, 0.75 * 30 + 0.25 * 20]


def test_which_objectives_are_capped_and_which_constraints_remain(toy) -> None:
    constraints = ("accuracy >= 0.65", "mean_macs <= 3e6", "params <= 2e5", "mean_macs <= 2.7e6", "mean_macs >= 1e6")
    problem = Problem(toy, ("error", "mean_macs"), constraints)
    assert capped(problem) == {1: 2.7e6}
    assert [str(problem.constraints[i]) for i in remaining(problem)] == [
        "accuracy >= 0.65",
        "params <= 200000",
        "mean_macs >= 1e+06",
    ]


def trials_of(problem: Problem, count: int) -> list[Trial]:
    found = draw(problem, count, np.random.default_rng(0))
    results = [synthetic.evaluate(problem.space.decode(genotype)) for genotype in found]
    return [
        Trial(i, g, problem.space.decode(g), r, "test", 0, problem.violation(r.metrics))
        for i, (g, r) in enumerate(zip(found, results))
    ]


@pytest.mark.parametrize("constraints", [("mean_macs <= 250000",), ("mean_macs <= 250000", "accuracy >= 0.6")])
def test_a_batch_under_the_penalty_is_new_canonical_and_reported_with_phi(small, constraints) -> None:
    problem, heard = Problem(small, ("error", "mean_macs"), constraints, analytic_costs), []
    trials = trials_of(problem, 20)
    options = {"population": 16, "generations": 4, "domination": "penalty", "report": heard.append}
    made = proposer("surrogate", problem, **options)
    found = made.propose(trials, 6, np.random.default_rng(1))
    assert len(set(found)) == 6
    assert not set(found) & {trial.genotype for trial in trials}
    assert made.propose(trials, 6, np.random.default_rng(1)) == found
    assert heard[0] == heard[1]
    assert heard[0]["trials"] == 20
    assert 0 <= heard[0]["phi"]["mean_macs"] <= 1
    plain = proposer("surrogate", problem, population=16, generations=4)
    assert plain.propose(trials, 6, np.random.default_rng(1)) != found


def test_a_penalty_needs_something_to_penalise(toy) -> None:
    problem = Problem(toy, ("error", "params"), ("mean_macs <= 1e6",))
    with pytest.raises(ValueError, match="needs an objective with an upper bound; objectives are error, params"):
        proposer("surrogate", problem, domination="penalty")
    with pytest.raises(ValueError, match="known are feasibility, penalty"):
        proposer("surrogate", problem, domination="luck")
