from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_tables import every_policy, lifelike_table, naive_operation, random_table, tables

from offramp.policy import MEASURES, Curve, Goal, ScoreTable, as_accurate, curve, operate, tune

COSTS = [1.0, 2.5, 2.0, 5.0]


def check(found: Curve, table: ScoreTable, costs: list[float]) -> None:
    assert len(found) >= 1
    for point in found:
        assert point.operation == operate(point.policy, table, costs)
        assert all(t == np.float32(t) for t in point.policy.thresholds)
    assert (np.diff([p.mean_cost for p in found]) > 0).all()
    assert (np.diff([p.accuracy for p in found]) > 0).all()


@settings(max_examples=60, deadline=None)
@given(tables(), st.sampled_from([*MEASURES, MEASURES]), st.sampled_from([0, 2**18]))
def test_is_ordered_non_dominated_and_true(table, measures, exact_points):
    costs = COSTS[: table.exits]
    check(curve(table, costs, measures=measures, exact_points=exact_points), table, costs)


@settings(max_examples=40, deadline=None)
@given(tables(max_samples=6), st.sampled_from(MEASURES))
def test_small_tables_give_every_non_dominated_point(table, measure):
    costs = COSTS[: table.exits]
    found = curve(table, costs, measures=measure, max_points=1000)
    assert found.exact
    points = {naive_operation(policy, table, costs) for policy in every_policy(table, measure)}
    best = [
        (a, c) for a, c in points if not any((b >= a and d < c - 1e-9) or (b > a and d <= c + 1e-9) for b, d in points)
    ]
    assert {(p.accuracy, round(p.mean_cost, 9)) for p in found} == {(a, round(c, 9)) for a, c in best}


@settings(max_examples=40, deadline=None)
@given(tables(max_samples=9), st.sampled_from(MEASURES))
def test_the_sweep_spans_from_the_cheapest_to_the_most_accurate(table, measure):
    costs = COSTS[: table.exits]
    swept, exact = (curve(table, costs, measures=measure, exact_points=n).points for n in (0, 2**18))
    assert swept[0] == exact[0]
    ends = [(p.accuracy, pytest.approx(p.mean_cost)) for p in (swept[-1], exact[-1])]  # of which there may be several
    assert ends[0] == ends[1]


@pytest.mark.parametrize("make", [random_table, lifelike_table])
def test_the_sweep_is_near_what_tuning_for_each_budget_gives(make):
    table, costs = make(60, 4, 4, 0), [1.0, 2.0, 3.0, 4.0]
    swept, exact = (curve(table, costs, measures="margin", max_points=1000, exact_points=n) for n in (0, 2**18))
    assert (swept.exact, exact.exact) == (False, True)
    goals = [Goal.accuracy_at_cost(float(budget)) for budget in np.linspace(1, 4, 16)]
    tuned = [tune(table, costs, goal, measures="margin").operation.accuracy for goal in goals]
    assert tuned == [exact.at(goal).accuracy for goal in goals]
    gaps = np.subtract(tuned, [swept.at(goal).accuracy for goal in goals])
    assert gaps.min() >= 0
    assert gaps.mean() < 0.01


def test_at_picks_the_point_for_a_budget():
    table, costs = lifelike_table(500, 3, 10, 0), [1.0, 2.0, 4.0]
    found = curve(table, costs)
    for goal in (Goal.accuracy_at_cost(2.0), Goal.cost_at_accuracy(0.6), Goal.tradeoff(0.05)):
        point = found.at(goal)
        assert goal.holds(point.accuracy, point.mean_cost)
        assert not any(goal.better((p.accuracy, p.mean_cost), (point.accuracy, point.mean_cost)) for p in found)
    assert found.at(Goal.accuracy_at_cost(0.1)) == found.points[0]
    assert found.at(Goal.cost_at_accuracy(1.0)) == found.points[-1]


def test_thinning_keeps_the_ends_and_comes_off_the_whole():
    table, costs = lifelike_table(500, 4, 10, 0), [1.0, 2.0, 3.0, 4.0]
    whole, thin = (curve(table, costs, measures="margin", max_points=n) for n in (10**6, 20))
    assert len(whole) == whole.found == thin.found
    assert 10 <= len(thin) <= 20
    assert (thin.points[0], thin.points[-1]) == (whole.points[0], whole.points[-1])
    assert set(thin.points) <= set(whole.points)


@pytest.mark.parametrize("most", [2, 3, 4, 7])
def test_there_are_at_most_as_many_points_as_asked_for_and_both_ends(most):
    table, costs = lifelike_table(500, 4, 10, 0), [1.0, 2.0, 3.0, 4.0]
    whole, thin = (curve(table, costs, measures="margin", max_points=n) for n in (10**6, most))
    assert 2 <= len(thin) <= most
    assert (thin.points[0], thin.points[-1]) == (whole.points[0], whole.points[-1])


def test_of_points_that_cost_the_same_the_most_accurate_stands():
    best = import_module("offramp.policy.curve")._non_dominated
    correct, cost = np.array([3, 5, 4, 5, 9, 8]), np.array([1.0, 2.0, 2.0, 2.0, 3.0, 4.0])
    assert best(correct, cost).tolist() == [0, 1, 4]
    assert best(correct[::-1], cost[::-1]).tolist() == [5, 2, 1]


def test_several_measures_dominate_each_one():
    table, costs = lifelike_table(300, 3, 10, 1), [1.0, 2.0, 3.0]
    merged = curve(table, costs, max_points=10**6)
    check(merged, table, costs)
    for measure in MEASURES:
        for point in curve(table, costs, measures=measure, max_points=10**6):
            assert merged.at(Goal.accuracy_at_cost(point.mean_cost)).accuracy >= point.accuracy


def test_permuting_the_samples_changes_nothing():
    table = lifelike_table(150, 4, 4, 3)
    order = np.random.default_rng(0).permutation(150)
    assert curve(table, COSTS) == curve(ScoreTable(table.logits[order], table.labels[order]), COSTS)


@pytest.mark.parametrize("samples, exits", [(1, 1), (9, 1), (1, 4)])
def test_degenerate_tables(samples, exits):
    table = random_table(samples, exits, 3, 0)
    check(curve(table, COSTS[:exits]), table, COSTS[:exits])


def test_one_point_when_all_exits_agree():
    table = ScoreTable(np.zeros((9, 4, 2)), np.zeros(9, dtype=int))
    found = curve(table, [2.0, 3.0, 1.0, 4.0])
    assert [(p.accuracy, p.mean_cost, p.utilisation) for p in found] == [(1.0, 1.0, (0.0, 0.0, 1.0, 0.0))]


def test_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match="max_points must be at least 2, not 1"):
        curve(random_table(5, 3, 3, 0), COSTS[:3], max_points=1)


def test_the_cheapest_point_that_is_accurate_enough() -> None:
    costs, accuracies = [3.0, 1.0, 2.0, 4.0], [0.8, 0.5, 0.7, 0.75]
    found = [as_accurate(accuracy, accuracies, costs) for accuracy in (0.1, 0.6, 0.7, 0.75, 0.8, 0.81)]
    assert found == [1, 2, 2, 0, 0, None]


def test_thinning_keeps_of_each_stretch_what_bulges_furthest():
    thinned = import_module("offramp.policy.curve")._thinned  # the package's `curve` is the function
    correct, cost = np.array([0, 50, 51, 90, 91, 100]), np.array([0.0, 10.0, 40.0, 50.0, 80.0, 100.0])
    assert thinned(correct, cost, 4).tolist() == [0, 1, 3, 5]
