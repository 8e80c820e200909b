from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offramp.architecture import Architecture
from offramp.search import Evaluation, Failure, NothingFeasible, Problem, Trial, best_tradeoff, best_within
from offramp.search.choose import backbone_static, best_static
from offramp.search.costs import Costs
from offramp.spaces import Candidate, space

POINTS = [(0.10, 9e6), (0.12, 4e6), (0.15, 1.2e6), (0.30, 0.9e6), (0.50, 0.8e6), (0.40, 5e6)]


def trials(problem: Problem, points: list[tuple[float, float]]) -> list[Trial]:
    candidate = problem.space.decode((0,) * 7)
    made = []
    for number, (error, macs) in enumerate(points):
        metrics = {"error": error, "mean_macs": macs}
        result = Evaluation(metrics)
        made.append(Trial(number, (number,), candidate, result, "test", 0, problem.violation(metrics)))
    return made


def problem(toy, *constraints: str) -> Problem:
    return Problem(toy, ("error", "mean_macs"), constraints)


def test_the_knee(toy) -> None:
    p = problem(toy)
    assert best_tradeoff(p, trials(p, POINTS)).number == 2
    assert best_tradeoff(p, trials(p, POINTS[:1])).number == 0


def test_the_knee_is_nearest_in_sum_and_not_in_its_worst_objective(toy) -> None:
    """On a scale of 0 to 1: (0, 0.65) against (0.5, 0.4), and the ends."""
    p = problem(toy)
    points = [(0.10, 10**4.65), (0.60, 10**4.4), (1.10, 1e4), (0.09, 1e5)]
    assert best_tradeoff(p, trials(p, points)).number == 0


def test_the_knee_keeps_the_constraints(toy) -> None:
    p = problem(toy, "error <= 0.125")
    assert best_tradeoff(p, trials(p, POINTS)).number in (0, 1)


@pytest.mark.parametrize("budget, number", [(9e6, 0), (8.9e6, 1), (2e6, 2), (1e6, 3), (8e5, 4)])
def test_best_within_a_budget(toy, budget: float, number: int) -> None:
    p = problem(toy)
    assert best_within(p, trials(p, POINTS), f"mean_macs <= {budget}").number == number


def test_the_most_accurate_is_chosen_whatever_objective_is_named_first(toy) -> None:
    p = Problem(toy, ("mean_macs", "accuracy"))
    made = trials(problem(toy), POINTS)
    made = [replace(t, result=Evaluation({**t.metrics, "accuracy": 1 - t.metrics["error"]})) for t in made]
    assert best_within(p, made, "mean_macs <= 5e6").number == 1
    assert best_within(Problem(toy, ("mean_macs",)), made, "mean_macs <= 5e6").number == 4


def test_a_budget_that_nothing_keeps(toy) -> None:
    p = problem(toy)
    with pytest.raises(
        NothingFeasible, match=r"nearest is trial 4 with mean_macs 800000 .*\(100.0% beyond\)"
    ) as caught:
        best_within(p, trials(p, POINTS), "mean_macs <= 4e5")
    assert caught.value.nearest.number == 4


POINT = st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), st.sampled_from([1e5, 5e5, 1e6, 2e6, 4e6]))


@given(st.lists(POINT, min_size=1, max_size=12), st.booleans())
def test_what_breaks_a_constraint_never_wins(toy, points, by_budget) -> None:
    """However good it looks: the choice is among the feasible, and no feasible one dominates it."""
    p = problem(toy, "error <= 0.35", "mean_macs <= 2.5e6")
    made = trials(p, points)
    kept = [t for t in made if t.metrics["error"] <= 0.35 and t.metrics["mean_macs"] <= 2.5e6]
    budget = 1.5e6 if by_budget else 2.5e6
    within = [t for t in kept if t.metrics["mean_macs"] <= budget]
    if kept:
        won = best_tradeoff(p, made)
        assert won in kept
        beaten = [t for t in kept if (p.losses(t.metrics) <= p.losses(won.metrics)).all() and t.metrics != won.metrics]
        assert not beaten
    if not within:
        with pytest.raises(NothingFeasible):
            best_within(p, made, f"mean_macs <= {budget}")
        return
    won = best_within(p, made, f"mean_macs <= {budget}")
    assert won in within
    assert won.metrics["error"] == min(t.metrics["error"] for t in within)


def test_the_static_network_beside_has_the_backbone_the_bits_and_the_cheapest_final_exit(toy) -> None:
    zniber = space("zniber", (3, 32, 32), 10, width=0.25)
    costs = Costs(device="quad-edge-tpu")

    def et(architecture: Architecture) -> float:
        return costs.leaving(architecture)["et_avg"][-1]

    drawn = [zniber.sample(i) for i in range(60)]
    made = [Trial(i, (i,), Candidate(a), Evaluation({"error": 0.5}), "test", 0, 0.0) for i, a in enumerate(drawn)]
    made += trials(problem(toy), POINTS)  # other backbones
    double = next(a for a in drawn if a.stages[11].exit.hidden)
    static = backbone_static(made, double, et)
    assert static.exits == (11,)
    assert static.precision == double.precision
    assert [s.blocks for s in static.stages] == [s.blocks for s in double.stages]
    assert not static.stages[11].exit.hidden
    # A network of this space that is static by MACs alone may hold ten times the energy x latency.
    assert et(double.with_exits((11,))) > 10 * et(static)
    assert backbone_static([], double, et) == double.with_exits((11,))


def test_nothing_feasible(toy) -> None:
    p = problem(toy, "error <= 0.08", "mean_macs <= 1e7")
    with pytest.raises(
        NothingFeasible, match=r"none of 6 .* trial 0 with error 0.1 against error <= 0.08 \(25.0%"
    ) as caught:
        best_tradeoff(p, trials(p, POINTS))
    assert caught.value.nearest.number == 0


def test_only_failures(toy) -> None:
    p = problem(toy)
    failed = Trial(0, (0,), toy.decode((0,) * 7), Failure("x"), "test", 0, float("inf"))
    with pytest.raises(NothingFeasible, match="none of 1 trials was evaluated"):
        best_tradeoff(p, [failed])


def test_a_static_network_of_exactly_so_many_macs_is_within_them(toy) -> None:
    p = problem(toy)
    candidate = toy.decode((2, 1, 0, 0, 0, 1, 0))
    costs = [Costs().network(candidate.architecture.with_exits((i,))).total.macs for i in (0, 1)]
    result = Evaluation({"error": 0.1, "mean_macs": 1.0}, {"exit_accuracy": [0.8, 0.9]})
    trial = Trial(0, (0,), candidate, result, "test", 0, p.violation(result.metrics))
    assert best_static([trial], costs[1]) == candidate.architecture.with_exits((1,))
    assert best_static([trial], costs[1] - 1) == candidate.architecture.with_exits((0,))
    with pytest.raises(NothingFeasible, match="the bound is too low"):
        best_static([trial], costs[0] - 1)
