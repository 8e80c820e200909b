from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_tables import random_table, tables

from offramp.policy import MEASURES, operate
from offramp.policy.lattice import Lattice
from offramp.policy.ranking import Ranking, between

COSTS = [3.0, 0.1, 4.3, 1.7]


@given(st.data(), tables(), st.sampled_from(MEASURES))
def test_every_combination_equals_operate_to_the_bit(data, table, measure):
    lattice = Lattice.of(table, COSTS[: table.exits], measure)
    choices = [
        np.array(sorted(data.draw(st.sets(st.integers(0, size), min_size=1, max_size=4))))
        for size in lattice.ranking.sizes
    ]
    correct, cost = lattice.evaluate(choices)
    for where in product(*(range(len(chosen)) for chosen in choices)):
        ranks = np.array([chosen[i] for chosen, i in zip(choices, where)], dtype=int)
        result = operate(lattice.ranking.policy(ranks), table, COSTS[: table.exits])
        assert correct[where] / table.samples == result.accuracy
        assert cost[where] == result.mean_cost


@given(tables(), st.sampled_from(MEASURES))
def test_a_rank_parts_the_levels_above_it_from_the_rest(table, measure):
    ranking = Ranking.of(table, measure)
    scores = table.scores(measure)
    for e, size in enumerate(ranking.sizes):
        assert size == len(np.unique(scores[:, e]))
        for rank in range(size + 1):
            threshold = ranking.policy(np.array([0] * e + [rank] + [0] * (table.exits - 2 - e))).thresholds[e]
            leave = scores[:, e] >= np.float32(threshold)
            np.testing.assert_array_equal(leave, scores[:, e] >= threshold)
            np.testing.assert_array_equal(leave, ranking.levels[e] < rank)
            assert threshold == np.float32(threshold)


def test_thresholds_lie_midway_between_the_samples_that_come_so_far():
    table = random_table(40, 3, 4, 0)
    ranking = Ranking.of(table, "margin")
    first, second = ranking.policy(np.array([20, 30])).thresholds
    scores = table.scores("margin").astype(np.float64)
    falling = np.sort(scores[:, 0])[::-1]
    assert first == pytest.approx((falling[19] + falling[20]) / 2, rel=1e-6)
    reached = scores[scores[:, 0] < first, 1]
    assert second == pytest.approx((reached[reached >= second].min() + reached[reached < second].max()) / 2, rel=1e-6)


def test_float32_neighbours_are_still_parted():
    for low in np.linspace(0.1, 1, 1001, dtype=np.float32):
        high = np.nextafter(low, np.float32(2))
        assert low < np.float32(between(low, high)) <= high


def test_min_gap_joins_neighbours():
    table = random_table(200, 2, 4, 0)
    scores = np.sort(table.scores("margin")[:, 0].astype(np.float64))
    ranking = Ranking.of(table, "margin", min_gap=0.01)
    assert ranking.sizes[0] == 1 + (np.diff(scores) > 0.01).sum() < len(scores)
    for rank in range(1, ranking.sizes[0]):
        assert np.abs(scores - ranking.policy(np.array([rank])).thresholds[0]).min() > 0.0049
