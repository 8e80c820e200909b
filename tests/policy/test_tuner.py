from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_tables import every_policy, goals_of, lifelike_table, naive_operation, random_table, tables, worth

from offramp.policy import MEASURES, Goal, Policy, ScoreTable, operate, tune, tuner
from offramp.policy.grid import even_grid, quantile_grid

COSTS = [1.0, 2.5, 2.0, 5.0, 7.0]


@settings(max_examples=40, deadline=None)
@given(tables(max_samples=6), st.sampled_from(MEASURES), st.integers(0, 10**6))
def test_small_tables_are_solved_exactly(table, measure, seed):
    costs = COSTS[: table.exits]
    points = [naive_operation(policy, table, costs) for policy in every_policy(table, measure)]
    for goal in goals_of(table, costs, seed):
        tuned = tune(table, costs, goal, measures=measure)
        assert tuned.exact
        assert worth(goal, tuned.operation.accuracy, tuned.operation.mean_cost) == min(worth(goal, *p) for p in points)


@settings(max_examples=60, deadline=None)
@given(tables(max_samples=9), st.sampled_from(MEASURES), st.integers(0, 10**6))
def test_the_search_finds_what_brute_force_finds(table, measure, seed):
    costs = COSTS[: table.exits]
    for goal in goals_of(table, costs, seed):
        searched = tune(table, costs, goal, measures=measure, exact_points=0)
        exact = tune(table, costs, goal, measures=measure)
        assert (searched.exact, exact.exact) == (False, True)
        assert searched.operation.accuracy == exact.operation.accuracy
        assert searched.operation.mean_cost == exact.operation.mean_cost


@pytest.mark.parametrize("make, samples, exits, most", [
    (random_table, 25, 3, 0.0), (random_table, 30, 4, 0.005),
    (lifelike_table, 60, 4, 0.001), (random_table, 12, 5, 0.005),
])  # fmt: skip
def test_the_mean_gap_to_brute_force_is_small(make, samples, exits, most):
    gaps = []
    for seed in range(12):
        table, costs = make(samples, exits, 4, seed), COSTS[:exits]
        for goal in goals_of(table, costs, seed):
            found = [tune(table, costs, goal, measures="margin", exact_points=n).operation for n in (0, 10**8)]
            searched, exact = (worth(goal, o.accuracy, o.mean_cost) for o in found)
            assert searched >= exact
            assert searched[0] == exact[0]
            gaps.append(searched[1] - exact[1])
    assert np.mean(gaps) <= most


@pytest.mark.parametrize("exits, samples", [(2, 300), (3, 300), (4, 100), (5, 40)])
@pytest.mark.parametrize("grid", [quantile_grid, even_grid])
@pytest.mark.parametrize("make", [random_table, lifelike_table])
def test_is_never_worse_than_the_grid(exits, samples, grid, make):
    table, costs = make(samples, exits, 5, exits), COSTS[:exits]
    for measure in MEASURES:
        values = grid(table, measure)
        assert values.shape == (exits - 1, 9)
        points = [operate(Policy(measure, thresholds), table, costs) for thresholds in product(*values.tolist())]
        # Also at the grid's own figures as bounds, where a rounded sum would shut the grid point out.
        on = points[len(points) // 3]
        bounds = [Goal.accuracy_at_cost(on.mean_cost), Goal.cost_at_accuracy(on.accuracy)]
        for goal in [*goals_of(table, costs, exits), *bounds]:
            tuned = tune(table, costs, goal, measures=measure, exact_points=0).operation
            best = min(worth(goal, p.accuracy, p.mean_cost) for p in points)
            assert worth(goal, tuned.accuracy, tuned.mean_cost) <= best


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("exact_points", [0, 2**18])
def test_where_everybody_leaves_everybody_else_would_too(measure, exact_points):
    """The least score seen would do here, and hold back less sure images that are yet to come."""
    table = lifelike_table(200, 3, 5, 0)
    first = tune(table, [1.0, 2.0, 3.0], Goal.accuracy_at_cost(1.0), measures=measure, exact_points=exact_points)
    assert first.operation.utilisation == (1.0, 0.0, 0.0)
    unsure = ScoreTable(np.zeros((50, 3, 5)), np.zeros(50, dtype=int))
    assert operate(first.policy, unsure, [1.0, 2.0, 3.0]).utilisation == (1.0, 0.0, 0.0)


def test_exact_is_what_every_measure_was():
    """The largest probability has one level here, the margin many."""
    rng, n = np.random.default_rng(0), 60
    rest = rng.uniform(0.05, 0.45, size=(n, 2))
    p = np.stack([np.full((n, 2), 0.5), rest, 0.5 - rest], axis=-1)
    table = ScoreTable(np.log(p), rng.integers(0, 3, n))
    goal = Goal.accuracy_at_cost(1.5)

    def tuned(*measures):
        return tune(table, [1.0, 2.0], goal, measures=measures, exact_points=10)

    assert tuned("max_probability").exact
    assert not tuned("margin").exact
    assert not tuned("max_probability", "margin").exact


@pytest.mark.parametrize("gap", [0.0, 0.03])
def test_no_threshold_lies_between_scores_that_are_too_near(gap):
    table = lifelike_table(300, 3, 5, 2)
    tuned = tune(table, [1.0, 2.0, 3.0], Goal.accuracy_at_cost(1.6), measures="margin", min_gap=gap)
    scores = table.scores("margin")
    apart = []
    for own, threshold in zip(scores.T, tuned.policy.thresholds):
        if own.min() < threshold <= own.max():
            apart.append(own[own >= threshold].min() - own[own < threshold].max())
    assert (min(apart) > gap) if gap else (min(apart) < 0.03)


def test_the_grids_are_what_they_say():
    table = lifelike_table(99, 3, 10, 0)
    np.testing.assert_allclose(even_grid(table, "max_probability")[0], np.arange(1, 10) / 10)
    shares = (table.scores("margin")[:, 0, None] < quantile_grid(table, "margin")[0]).mean(axis=0)
    np.testing.assert_allclose(shares, np.arange(1, 10) / 10, atol=0.02)


@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(0, 10**6), st.sampled_from([0, 2**18]))
def test_states_what_operate_says_and_whether_the_goal_holds(table, seed, exact_points):
    costs = COSTS[: table.exits]
    for goal in [*goals_of(table, costs, seed), Goal.accuracy_at_cost(0.5), Goal.cost_at_accuracy(1.0)]:
        tuned = tune(table, costs, goal, exact_points=exact_points)
        assert tuned.operation == operate(tuned.policy, table, costs)
        assert tuned.feasible == goal.holds(tuned.operation.accuracy, tuned.operation.mean_cost)
        assert all(t == np.float32(t) for t in tuned.policy.thresholds)


def test_a_goal_out_of_reach_is_approached():
    table = lifelike_table(200, 3, 4, 0)
    cheap = tune(table, [1.0, 2.0, 3.0], Goal.accuracy_at_cost(0.9), measures="margin")
    assert (cheap.feasible, cheap.operation.mean_cost) == (False, 1.0)
    right = tune(table, [1.0, 2.0, 3.0], Goal.cost_at_accuracy(1.0), measures="margin")
    top = tune(table, [1.0, 2.0, 3.0], Goal.tradeoff(0.0), measures="margin")
    assert (right.feasible, right.operation) == (False, top.operation)


@pytest.mark.parametrize("exact_points", [0, 2**18])
def test_permuting_the_samples_changes_nothing(exact_points):
    table = lifelike_table(150, 4, 4, 3)
    order = np.random.default_rng(0).permutation(150)
    shuffled = ScoreTable(table.logits[order], table.labels[order])
    for goal in goals_of(table, COSTS[:4], 0):
        one, other = (tune(t, COSTS[:4], goal, exact_points=exact_points) for t in (table, shuffled))
        assert one == other


def test_takes_the_best_of_the_measures():
    table, costs = lifelike_table(300, 3, 10, 1), [1.0, 2.0, 3.0]
    goal = Goal.accuracy_at_cost(1.7)
    alone = [tune(table, costs, goal, measures=m).operation.accuracy for m in MEASURES]
    assert tune(table, costs, goal).operation.accuracy == max(alone)


def test_an_exit_that_costs_more_than_the_last_is_left_alone():
    table = lifelike_table(200, 3, 4, 0)
    tuned = tune(table, [9.0, 8.0, 1.0], Goal.accuracy_at_cost(1.0))
    assert tuned.policy.thresholds == (np.inf, np.inf)


def test_many_exits():
    table, costs = lifelike_table(300, 11, 4, 0), list(range(1, 12))
    tuned = tune(table, costs, Goal.accuracy_at_cost(3.0), measures="margin", restarts=0)
    assert tuned.feasible
    assert tuned.operation.accuracy > table.exit_accuracy[2]


@pytest.mark.parametrize("exact_points", [0, 2**18])
@pytest.mark.parametrize("table", [
    ScoreTable(np.zeros((1, 1, 2)), np.zeros(1, dtype=int)), random_table(9, 1, 3, 0), random_table(1, 4, 3, 0),
    ScoreTable(np.zeros((9, 4, 2)), np.zeros(9, dtype=int)),
], ids=["one of each", "one exit", "one sample", "all scores equal"])  # fmt: skip
def test_degenerate_tables(table, exact_points):
    costs = COSTS[: table.exits]
    for goal in goals_of(table, costs, 0):
        tuned = tune(table, costs, goal, exact_points=exact_points)
        assert len(tuned.policy.thresholds) == table.exits - 1
        assert tuned.operation == operate(tuned.policy, table, costs)


def test_arguments_that_do_not_fit():
    table = random_table(5, 3, 3, 0)
    with pytest.raises(ValueError, match="3 numbers"):
        tune(table, [1, 2], Goal.tradeoff(0.1))
    with pytest.raises(ValueError, match="'sure'"):
        tune(table, [1, 2, 3], Goal.tradeoff(0.1), measures="sure")
    with pytest.raises(ValueError, match="at least one of"):
        tune(table, [1, 2, 3], Goal.tradeoff(0.1), measures=())


@pytest.mark.parametrize("grid", [quantile_grid, even_grid])
def test_the_grid_alone_is_a_start(grid, monkeypatch):
    monkeypatch.setattr(tuner, "sweep", lambda archive, pick, climbs: None)
    monkeypatch.setattr(tuner, "climb", lambda archive, goal, ranks: ranks)
    monkeypatch.setattr(tuner, "exchange", lambda archive, goal, ranks: ranks)
    table, costs = lifelike_table(300, 3, 5, 0), COSTS[:3]
    policies = [Policy("margin", thresholds) for thresholds in product(*grid(table, "margin").tolist())]
    points = [operate(policy, table, costs) for policy in policies]
    for goal in goals_of(table, costs, 0):
        tuned = tune(table, costs, goal, measures="margin", exact_points=0).operation
        best = min(worth(goal, p.accuracy, p.mean_cost) for p in points)
        assert worth(goal, tuned.accuracy, tuned.mean_cost) <= best


def test_each_exit_and_the_bracket_of_the_goal_are_starts(monkeypatch):
    starts = []
    monkeypatch.setattr(tuner, "climb", lambda archive, goal, ranks: starts.append(tuple(ranks)) or ranks)
    table = lifelike_table(300, 3, 5, 0)
    tune(table, COSTS[:3], Goal.accuracy_at_cost(2.2), measures="margin", exact_points=0)
    first, second = (len(np.unique(table.scores("margin")[:, e])) for e in (0, 1))
    assert {(first, 0), (0, second), (0, 0)} <= set(starts)
    assert len(set(starts)) > 3
