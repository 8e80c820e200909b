from math import inf, nan

import numpy as np
import pytest

from offramp.policy import Goal

ACCURACY = np.array([0.5, 0.6, 0.7, 0.8, 0.8])
COST = np.array([1.0, 2.0, 4.0, 8.0, 9.0])


@pytest.mark.parametrize(
    "goal, best, feasible",
    [
        (Goal.accuracy_at_cost(4.0), 2, True),
        (Goal.accuracy_at_cost(3.9), 1, True),
        (Goal.accuracy_at_cost(100.0), 3, True),
        (Goal.accuracy_at_cost(0.5), 0, False),
        (Goal.cost_at_accuracy(0.7), 2, True),
        (Goal.cost_at_accuracy(0.61), 2, True),
        (Goal.cost_at_accuracy(0.9), 3, False),
        (Goal.tradeoff(0.0), 3, True),
        (Goal.tradeoff(0.06), 1, True),
        (Goal.tradeoff(1.0), 0, True),
    ],
)
def test_picks_the_point(goal, best, feasible):
    assert goal.best(ACCURACY, COST) == best
    assert goal.holds(ACCURACY[best], COST[best]) is feasible


def test_equals_are_decided_by_the_other_figure_then_by_order():
    assert Goal.accuracy_at_cost(5.0).best(np.array([0.5, 0.5, 0.5]), np.array([2.0, 1.0, 1.0])) == 1
    assert Goal.cost_at_accuracy(0.1).best(np.array([0.5, 0.6, 0.6]), np.array([1.0, 1.0, 1.0])) == 1


def test_better_is_strict():
    goal = Goal.accuracy_at_cost(2.0)
    assert goal.better((0.4, 2.0), (0.9, 2.1))
    assert goal.better((0.5, 1.0), (0.5, 2.0))
    assert not goal.better((0.5, 1.0), (0.5, 1.0))


@pytest.mark.parametrize("make, value", [
    (Goal.accuracy_at_cost, nan), (Goal.accuracy_at_cost, inf), (Goal.cost_at_accuracy, 1.1),
    (Goal.cost_at_accuracy, nan), (Goal.tradeoff, -0.1), (Goal.tradeoff, nan),
])  # fmt: skip
def test_bounds_that_make_no_sense(make, value):
    with pytest.raises(ValueError, match=str(value)):
        make(value)
