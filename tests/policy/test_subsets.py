from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_tables import every_policy, lifelike_table, naive_operation, tables

from offramp.policy import MEASURES, Goal, ScoreTable, curve, operate, subset_curve, tune
from offramp.policy.subsets import exit_subsets

STAGES, BRANCHES = [1.0, 1.5, 0.5, 2.0], [0.5, 0.25, 1.0, 0.125]


def costs_of(exits: Sequence[int]) -> list[float]:
    """Every branch that ran is charged."""
    upto = np.cumsum(STAGES)[list(exits)]
    return (upto + np.cumsum(np.array(BRANCHES)[list(exits)])).tolist()


@settings(max_examples=30, deadline=None)
@given(tables(max_samples=5), st.sampled_from(MEASURES))
def test_small_tables_give_every_non_dominated_point_of_every_subset(table: ScoreTable, measure: str) -> None:
    found = subset_curve(table, costs_of, measures=measure)
    last, points = table.exits - 1, set()
    for count in range(table.exits):
        for early in combinations(range(last), count):
            part = table.keep((*early, last))
            costs = costs_of((*early, last))
            points |= {naive_operation(policy, part, costs) for policy in every_policy(part, measure)}
    best = [(a, c) for a, c in points if not any((b >= a and d < c) or (b > a and d <= c) for b, d in points)]
    rounded = {(a, round(c, 9)) for a, c in best}
    assert {(c.point.accuracy, round(c.point.mean_cost, 9)) for c in found} == rounded
    for choice in found:
        part = table.keep(choice.exits)
        assert choice.point.operation == operate(choice.point.policy, part, costs_of(choice.exits))


def test_leaving_a_useless_exit_out_is_cheaper() -> None:
    table = lifelike_table(300, 4, 4, 0)
    senseless = table.logits.copy()
    senseless[:, 1] = 0.0
    table = ScoreTable(senseless, table.labels)
    found = subset_curve(table, costs_of, measures="margin")
    whole = curve(table, costs_of(range(4)), measures="margin")
    goal = Goal.accuracy_at_cost(3.0)
    best = [choice for choice in found if choice.point.mean_cost <= 3.0][-1]
    assert 1 not in best.exits
    assert best.point.accuracy > whole.at(goal).accuracy
    kept = table.keep(best.exits)
    tuned = tune(kept, costs_of(best.exits), goal, measures="margin").operation
    assert best.point.accuracy >= tuned.accuracy - 0.01


def test_of_equal_points_that_with_fewer_exits_stands() -> None:
    """All exits give the same answers, and exits cost what their stage does: many subsets end alike."""
    table = ScoreTable(np.repeat(lifelike_table(80, 1, 4, 0).logits, 3, axis=1), lifelike_table(80, 1, 4, 0).labels)
    found = subset_curve(table, lambda exits: [2.0] * len(exits), measures="margin")
    assert [choice.exits for choice in found] == [(2,)]


@pytest.mark.parametrize("most", [1, 2, 3, 8, 99])
def test_so_many_subsets_are_looked_at(most) -> None:
    found = exit_subsets(4, most)
    assert len(found) == len(set(found)) == min(most, 8)
    assert found[0] == (0, 1, 2, 3)


def test_beyond_the_most_subsets_the_whole_network_and_the_smallest_remain() -> None:
    table = lifelike_table(60, 4, 4, 1)
    found = subset_curve(table, costs_of, measures="margin", subsets=3)
    assert {choice.exits for choice in found} <= {(0, 1, 2, 3), (3,), (0, 3)}
