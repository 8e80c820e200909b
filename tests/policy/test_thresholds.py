"""Thresholds that may leave out exits."""

from itertools import accumulate

import numpy as np
import pytest
from policy_tables import lifelike_table, worth

from offramp.policy import Goal, ScoreTable, TunedThresholds, tune
from offramp.policy.subsets import exit_subsets

STAGES, FINAL = (1.0, 1.0, 1.0, 1.0), 0.1


def table(seed: int, strengths=(0.8, 1.2, 1.6, 2.5)) -> ScoreTable:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 400)
    logits = rng.normal(size=(400, len(strengths), 4)).astype(np.float32)
    logits[np.arange(400), :, labels] += np.array(strengths)
    return ScoreTable(logits, labels)


def costs_of(branches):
    """Every stage is run up to the exit, and the branches of those exits that are there."""

    def costs(exits):
        upto = list(accumulate(STAGES))
        return tuple(upto[e] + sum(branches[i] for i in exits if i <= e) for e in exits)

    return costs


GOALS = [Goal.accuracy_at_cost(2.6), Goal.cost_at_accuracy(0.8)]


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("seed", range(5))
def test_leaving_out_exits_is_never_worse(goal, seed):
    scores, costs = table(seed), costs_of((0.5, 0.4, 0.6, FINAL))
    way = TunedThresholds(goal, ("max_probability",), drop=True)
    kept = way.keep(scores, costs)
    with_drop = way.set(scores.keep(kept), costs(kept)).operation
    everything = tune(scores, costs((0, 1, 2, 3)), goal, measures="max_probability").operation
    pairs = [(o.accuracy, o.mean_cost) for o in (with_drop, everything)]
    assert not goal.better(pairs[1], pairs[0])


def test_an_exit_that_costs_more_than_it_saves_is_left_out():
    scores, costs = table(0), costs_of((0.05, 3.0, 0.05, FINAL))
    for goal in GOALS:
        kept = TunedThresholds(goal, ("max_probability",), drop=True).keep(scores, costs)
        assert 1 not in kept
        assert kept[-1] == 3
        everything = tune(scores, costs((0, 1, 2, 3)), goal, measures="max_probability").operation
        fewer = tune(scores.keep(kept), costs(kept), goal, measures="max_probability").operation
        assert goal.better((fewer.accuracy, fewer.mean_cost), (everything.accuracy, everything.mean_cost))


def test_of_equally_good_subsets_that_with_the_fewest_exits_is_kept():
    same = table(0, (2.0,))
    scores = ScoreTable(np.repeat(same.logits, 4, 1), same.labels)
    way = TunedThresholds(GOALS[0], ("margin",), drop=True)
    assert way.keep(scores, lambda exits: (1.0,) * len(exits)) == (3,)


def test_all_exits_stay_unless_it_is_asked_for():
    assert TunedThresholds(GOALS[0], ("margin",)).keep(table(0), costs_of((9.0, 9.0, 9.0, 9.0))) == (0, 1, 2, 3)


@pytest.mark.parametrize("goal", [Goal.accuracy_at_cost(3.5), Goal.cost_at_accuracy(0.9)])
def test_of_many_exits_the_best_subset_is_found_beyond_those_that_are_all_tried(goal):
    """Of 8 exits 64 of 128 subsets are tried at first; against brute force."""
    scores = lifelike_table(100, 8, 4, 0)

    def costs(exits):
        return (np.arange(1.0, 9.0)[list(exits)] + 0.25 * np.arange(1, len(exits) + 1)).tolist()

    def worth_of(exits):
        found = tune(scores.keep(exits), costs(exits), goal, measures="margin", restarts=0).operation
        return worth(goal, found.accuracy, found.mean_cost)

    kept = TunedThresholds(goal, ("margin",), drop=True).keep(scores, costs)
    every = {exits: worth_of(exits) for exits in exit_subsets(8, 128)}
    assert every[kept] == min(every.values())
    assert every[kept] < min(every[exits] for exits in exit_subsets(8))  # so the first alone would not have done
