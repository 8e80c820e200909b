from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_tables import lifelike_table, tables

from offramp.policy import MEASURES, Policy, ScoreTable, operate, repair, shared_threshold

COSTS = st.lists(st.integers(1, 30).map(float), min_size=4, max_size=4)
THRESHOLDS = st.lists(st.sampled_from([-inf, 0.0, 0.05, 0.3, 0.7, 0.7000001, 1.0, 5.0, inf]), min_size=3, max_size=3)


@settings(max_examples=150, deadline=None)
@given(tables(), COSTS, THRESHOLDS, st.sampled_from(MEASURES), st.floats(0, 31), st.floats(0, 1))
def test_it_ends_and_says_truly_whether_it_is_feasible(table, costs, thresholds, measure, most, least) -> None:
    """Costs in any order, thresholds beyond every score, ties: whatever it is given."""
    costs, start = costs[: table.exits], Policy(measure, tuple(thresholds[: table.exits - 1]))
    before = operate(start, table, costs)
    found = repair(start, table, costs, max_cost=most, min_accuracy=least)
    assert found.operation == operate(found.policy, table, costs)
    assert found.feasible == (found.operation.mean_cost <= most and found.operation.accuracy >= least)
    assert found.operation.mean_cost <= before.mean_cost
    assert found.operation.accuracy >= min(least, before.accuracy)
    assert all(now <= then for now, then in zip(found.policy.thresholds, start.thresholds))
    if before.mean_cost <= most:
        assert found.policy == start


@settings(max_examples=100, deadline=None)
@given(tables(), COSTS, THRESHOLDS, st.sampled_from(MEASURES), st.floats(0, 31))
def test_with_no_bound_on_accuracy_it_finds_what_there_is(table, costs, thresholds, measure, most) -> None:
    """Where costs rise with depth, everybody at the first exit is the cheapest policy there is."""
    costs, start = sorted(costs[: table.exits]), Policy(measure, tuple(thresholds[: table.exits - 1]))
    found = repair(start, table, costs, max_cost=most, min_accuracy=0)
    assert found.feasible == (costs[0] <= most)


def test_it_lowers_from_the_second_last_exit_backwards_and_stops_at_once() -> None:
    table, costs = lifelike_table(400, 4, 10, 0), [1.0, 2.0, 3.0, 4.0]
    start = Policy("max_probability", (0.9, 0.9, 0.9))
    before = operate(start, table, costs).mean_cost
    once = repair(start, table, costs, max_cost=before - 1e-9, min_accuracy=0)
    assert once.policy.thresholds == (0.9, 0.9, float(np.float32(0.8)))
    floor = operate(Policy("max_probability", (-inf,) * 3), table, costs).mean_cost
    lower = repair(start, table, costs, max_cost=(before + floor) / 2, min_accuracy=0)
    first, second, third = lower.policy.thresholds
    assert lower.feasible
    assert first >= second >= third  # rounds: none is a whole step ahead of those before it
    assert first - third < 0.11


def test_accuracy_is_kept_while_cost_falls() -> None:
    table, costs = lifelike_table(600, 4, 10, 1), [1.0, 2.0, 3.0, 4.0]
    start = Policy("max_probability", (inf, inf, inf))
    least = operate(start, table, costs).accuracy - 0.02
    found = repair(start, table, costs, max_cost=1.0, min_accuracy=least)
    assert not found.feasible  # nobody but the first exit costs 1
    assert found.operation.accuracy >= least
    assert found.operation.mean_cost < operate(start, table, costs).mean_cost


def test_a_shared_threshold_is_the_cheaper_of_equally_accurate_ones_then_the_earlier() -> None:
    logits = np.zeros((10, 3, 2))
    logits[:, :, 1] = 2.0  # everywhere right, and sure by 0.76 (margin)
    table = ScoreTable(logits, np.ones(10, dtype=int))
    assert shared_threshold(table, [1.0, 2.0, 3.0], "margin", values=(0.9, 0.75, 0.72)).thresholds == (0.75, 0.75)
    assert shared_threshold(table, [3.0, 2.0, 1.0], "margin", values=(0.72, 0.9, 0.95)).thresholds == (0.9, 0.9)


def test_one_exit_has_nothing_to_repair() -> None:
    table = lifelike_table(50, 1, 5, 0)
    found = repair(Policy("margin", ()), table, [5.0], max_cost=4.0, min_accuracy=0)
    assert not found.feasible
    assert found.policy == Policy("margin", ())


@settings(max_examples=60, deadline=None)
@given(tables(), COSTS, st.sampled_from(MEASURES))
def test_the_shared_threshold_is_the_most_accurate_of_the_list(table, costs, measure) -> None:
    costs, values = costs[: table.exits], (0.1, 0.5, 0.8)
    found = shared_threshold(table, costs, measure, values=values)
    assert len(found.thresholds) == table.exits - 1
    assert len(set(found.thresholds[1:])) <= 1
    assert all(first >= 0.7 for first in found.thresholds[:1])
    tried = [Policy(measure, tuple(max(v, 0.7) if e == 0 else v for e in range(table.exits - 1))) for v in values]
    accuracies = [operate(policy, table, costs).accuracy for policy in tried]
    assert operate(found, table, costs).accuracy == max(accuracies)


def test_what_makes_no_sense_is_refused() -> None:
    table, policy = lifelike_table(20, 3, 4, 0), Policy("margin", (0.5, 0.5))
    for step in (0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="step must be greater than 0"):
            repair(policy, table, [1, 2, 3], max_cost=1, min_accuracy=0, step=step)
    with pytest.raises(ValueError, match="bounds must be numbers"):
        repair(policy, table, [1, 2, 3], max_cost=float("nan"), min_accuracy=0)
    with pytest.raises(ValueError, match="at least one threshold"):
        shared_threshold(table, [1, 2, 3], "margin", values=())
    with pytest.raises(ValueError, match="costs must be 3 numbers"):
        repair(policy, table, [1, 2], max_cost=1, min_accuracy=0)


def test_steps_end_even_where_scores_are_equal() -> None:
    table = ScoreTable(np.zeros((5, 3, 2)), np.zeros(5, dtype=int))
    found = repair(Policy("margin", (inf, 1.0)), table, [1, 2, 3], max_cost=1.0, min_accuracy=0)
    assert found.feasible
    assert found.policy.thresholds[0] == 0
