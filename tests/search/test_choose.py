import pytest

from offramp.search import Evaluation, Failure, NothingFeasible, Problem, Trial, best_tradeoff, best_within

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


def test_the_knee_keeps_the_constraints(toy) -> None:
    p = problem(toy, "error <= 0.125")
    assert best_tradeoff(p, trials(p, POINTS)).number in (0, 1)


@pytest.mark.parametrize("budget, number", [(9e6, 0), (8.9e6, 1), (2e6, 2), (1e6, 3), (8e5, 4)])
def test_best_within_a_budget(toy, budget: float, number: int) -> None:
    p = problem(toy)
    assert best_within(p, trials(p, POINTS), f"mean_macs <= {budget}").number == number


def test_a_budget_that_nothing_keeps(toy) -> None:
    p = problem(toy)
    with pytest.raises(
        NothingFeasible, match=r"nearest is trial 4 with mean_macs 800000 .*\(100.0% beyond\)"
    ) as caught:
        best_within(p, trials(p, POINTS), "mean_macs <= 4e5")
    assert caught.value.nearest.number == 4


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
