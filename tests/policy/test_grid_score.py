from collections.abc import Sequence
from itertools import product
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_tables import lifelike_table, naive_operation, random_table, tables

from offramp.policy import Policy, ScoreTable, grid_score, maep, operate, penalised_error

STAGES, BRANCHES = [1.0, 1.5, 0.5, 2.0, 1.0], [0.5, 0.25, 1.0, 0.125, 0.25]


def costs_of(exits: Sequence[int]) -> list[float]:
    return (np.cumsum(STAGES)[list(exits)] + np.cumsum(np.array(BRANCHES)[list(exits)])).tolist()


def test_a_deviation_counts_on_both_sides() -> None:
    assert maep(15.3e6, 17e6) == pytest.approx(10)
    assert maep(18.7e6, 17e6) == pytest.approx(10)
    assert maep(17e6, 17e6) == 0
    assert penalised_error(0.2, 15.3e6, 17e6) == pytest.approx(21)
    with pytest.raises(ValueError, match="target is 0"):
        maep(1.0, 0.0)
    with pytest.raises(ValueError, match="target is inf; it must be above 0, and finite"):
        maep(1.0, inf)


@settings(max_examples=30, deadline=None)
@given(tables(max_samples=6), st.floats(0.5, 6.0))
def test_it_is_the_best_of_the_grid(table, target) -> None:
    found, last, scores = grid_score(table, costs_of, target), table.exits - 1, []
    for thresholds in product((0.1, 0.2, 1.0), repeat=last):
        kept = [e for e in range(last) if thresholds[e] < 1]
        if kept or not last:
            policy = Policy("margin", tuple(thresholds[e] for e in kept))
            accuracy, cost = naive_operation(policy, table.keep([*kept, last]), costs_of([*kept, last]))
            scores.append(100 * accuracy - 0.1 * 100 * abs(cost - target) / target)
    assert found.score == pytest.approx(max(scores))
    assert found.evaluated == len(scores)
    part, point = table.keep(found.choice.exits), found.choice.point
    assert point.operation == operate(point.policy, part, costs_of(found.choice.exits))


def test_of_equal_scores_the_first_of_the_grid_stands() -> None:
    """All are sure: every threshold up to 1 lets all leave at the first exit that is kept."""
    logits = np.zeros((20, 3, 2), dtype=np.float32)
    logits[:, :, 1] = 50.0
    table = ScoreTable(logits, np.ones(20, dtype=int))
    assert grid_score(table, costs_of, costs_of([0])[0]).choice.point.policy.thresholds == (0.1, 0.1)
    assert grid_score(table, costs_of, costs_of([0])[0], values=(0.2, 0.1)).choice.point.policy.thresholds == (0.2, 0.2)


def test_four_exits_and_a_final_one_make_80_combinations() -> None:
    assert grid_score(random_table(30, 5, 3, 0), costs_of, 3.0).evaluated == 80


def test_a_dropped_exit_costs_nothing() -> None:
    table = lifelike_table(300, 5, 4, 0)
    cheap = grid_score(table, costs_of, 1.5).choice
    assert 0 in cheap.exits
    dear = grid_score(table, costs_of, 6.0).choice
    assert 0 not in dear.exits
    # All leave at the last of the kept exits: neither exit before it that was dropped is charged.
    assert costs_of(dear.exits)[-1] == sum(STAGES) + sum(BRANCHES[e] for e in dear.exits)


def test_a_grid_that_keeps_no_exit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one must be at most"):
        grid_score(random_table(5, 3, 2, 0), costs_of, 1.0, values=(1.0,))
