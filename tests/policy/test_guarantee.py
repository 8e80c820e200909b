"""Guarantees: exact bounds, and that what is promised holds as often as it is promised."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_tables import lifelike_table
from scipy.stats import binomtest

from offramp.policy import Policy, ScoreTable, curve, guaranteed, operate, promised, upper_bound
from offramp.policy.guarantee import LOSSES, lost, wrong

COSTS = [1.0, 2.0, 3.0, 4.0]


@given(st.integers(1, 400), st.data(), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_bounds_are_the_exact_one_sided_ones(samples, data, confidence):
    count = data.draw(st.integers(0, samples))
    oracle = binomtest(count, samples, alternative="less").proportion_ci(confidence, method="exact").high
    assert upper_bound(count, samples, confidence) == pytest.approx(oracle, abs=1e-9)
    assert upper_bound(count, samples, confidence) > count / samples or count == samples


def test_what_counts_against_a_policy():
    table = lifelike_table(200, 4, 4, 0)
    early, never = Policy("margin", (0.3, 0.4, 0.5)), Policy("margin", (inf, inf, inf))
    assert wrong(early, table).mean() == pytest.approx(1 - operate(early, table, COSTS).accuracy)
    assert not lost(never, table).any()
    both = wrong(early, table) & table.correct[:, -1]
    assert np.array_equal(lost(early, table), both)
    assert both.any()
    assert promised(early, table, 0.9) == {
        "n": 200,
        "confidence": 0.9,
        "error_at_most": upper_bound(int(wrong(early, table).sum()), 200, 0.9),
        "lost_at_most": upper_bound(int(both.sum()), 200, 0.9),
    }


def test_one_exit_loses_nothing():
    held = promised(Policy("margin", ()), lifelike_table(200, 1, 4, 0))
    assert (held["lost_at_most"], held["error_at_most"] > 0) == (0.0, True)


def part(table: ScoreTable, rng: np.random.Generator, count: int) -> ScoreTable:
    return table.rows(rng.integers(table.samples, size=count))


@pytest.mark.parametrize("loss, most", [("lost", 0.05), ("error", 0.2)])
def test_what_is_promised_holds_as_often_as_promised_and_is_not_idle(loss, most):
    """Images drawn from a population of which the truth is known: 300 times, at a confidence of 0.9."""
    population, rng = lifelike_table(20_000, 4, 4, 1), np.random.default_rng(2)
    select = part(population, rng, 1000)
    policies = [point.policy for point in curve(select, COSTS, measures="margin", max_points=40)]
    rates = {policy: LOSSES[loss](policy, population).mean() for policy in policies}
    broken, chosen, times = 0, [], 300
    for _ in range(times):
        found = guaranteed(policies, select, part(population, rng, 500), COSTS, loss=loss, most=most, confidence=0.9)
        assert found is not None
        broken += rates[found] > most
        chosen.append(operate(found, population, COSTS).mean_cost)
    assert broken <= 0.1 * times + 3 * np.sqrt(0.09 * times)
    # Not so careful as to be of no use: within a quarter of what the cheapest policy that really holds costs.
    best = min(operate(p, population, COSTS).mean_cost for p, rate in rates.items() if rate <= most)
    assert np.mean(chosen) < 1.25 * best


def test_choosing_by_the_rate_found_would_break_it_about_every_second_time():
    population, rng = lifelike_table(20_000, 4, 4, 1), np.random.default_rng(2)
    select = part(population, rng, 1000)
    policies = [point.policy for point in curve(select, COSTS, measures="margin", max_points=40)]
    rates = {policy: lost(policy, population).mean() for policy in policies}
    broken = 0
    for _ in range(60):
        calibrate = part(population, rng, 500)
        good = [p for p in policies if lost(p, calibrate).mean() <= 0.05]
        broken += rates[min(good, key=lambda p: operate(p, select, COSTS).mean_cost)] > 0.05
    assert broken > 0.25 * 60


def test_testing_ends_at_the_first_that_fails():
    """What is cheap and happens to do well behind one that failed is not looked at."""
    correct = np.ones((100, 2), bool)
    correct[:30, 0] = False
    logits = np.where(correct[..., None], [[[2.0, 0.0]]], [[[0.0, 2.0]]])
    select = ScoreTable(logits, np.zeros(100, int))
    always, never = Policy("margin", (0.0,)), Policy("margin", (inf,))
    perfect = ScoreTable(np.tile([[[2.0, 0.0]]], (100, 2, 1)), np.zeros(100, int))
    options = {"loss": "error", "confidence": 0.9}
    assert guaranteed([always, never], select, perfect, [1, 2], most=0.1, **options) == always
    worst = ScoreTable(-perfect.logits, np.zeros(100, int))
    assert guaranteed([always, never], select, worst, [1, 2], most=0.1, **options) is None
    assert guaranteed([always], select, select, [1, 2], most=0.1, **options) is None
    assert guaranteed([always, never], select, select, [1, 2], most=0.1, **options) == never
    few = perfect.rows(np.arange(20))
    assert guaranteed([always], select, few, [1, 2], most=0.1, **options) is None  # 0.9^20 = 0.12


def right_at(*exits: list[bool]) -> ScoreTable:
    """A row of the arguments for each exit: whether it is right about each sample; all are equally sure."""
    right = np.array(exits).T
    logits = np.where(right[..., None], [[[2.0, 0.0]]], [[[0.0, 2.0]]])
    return ScoreTable(logits, np.zeros(len(right), int))


def test_neither_is_what_comes_behind_the_first_that_fails():
    """By select: never, then the second exit, then the first. On calibrate the second fails; the first would hold."""
    yes = [True] * 100
    select = right_at([False] * 10 + yes[10:], [False] * 5 + yes[5:], yes)
    calibrate = right_at(yes, [False] * 100, yes)
    first, second, never = (Policy("margin", t) for t in ((0.0, inf), (inf, 0.0), (inf, inf)))
    options = {"loss": "error", "confidence": 0.9, "most": 0.1}
    assert guaranteed([first, second, never], select, calibrate, [1, 2, 3], **options) == never


def test_of_those_that_hold_the_cheapest_on_select_is_taken_and_of_equal_ones_the_dearest_tested_first():
    yes, options = [True] * 100, {"loss": "error", "confidence": 0.9, "most": 0.1}
    dear, cheap = Policy("margin", (inf, 0.0)), Policy("margin", (0.0, inf))
    # The cheaper one is tested first, as it has fewer errors.
    select = right_at(yes, [False] * 5 + yes[5:], yes)
    assert guaranteed([dear, cheap], select, right_at(yes, yes, yes), [1, 2, 3], **options) == cheap
    # Of equal errors the dear one holds, the cheap one would not.
    assert (
        guaranteed([cheap, dear], right_at(yes, yes, yes), right_at([False] * 100, yes, yes), [1, 2, 3], **options)
        == dear
    )
    # What it costs is told by select: there nearly all are sure at the first exit, on calibrate none is.
    half = Policy("margin", (0.5, inf))
    unsure = ScoreTable(right_at(yes, yes, yes).logits * [[[0.1], [1], [1]]], np.zeros(100, int))
    assert guaranteed([half, dear], right_at(yes, yes, yes), unsure, [1, 2, 3], **options) == half


@pytest.mark.parametrize(
    "change, message",
    [({"loss": "regret"}, "allowed are error, lost"), ({"most": 0}, "most is 0"), ({"confidence": 1.0}, "confidence")],
)
def test_what_makes_no_sense_is_named(change, message):
    table = lifelike_table(20, 4, 4, 0)
    with pytest.raises(ValueError, match=message):
        guaranteed([Policy("margin", (0, 0, 0))], table, table, COSTS, **{"loss": "lost", "most": 0.1} | change)


@pytest.mark.parametrize("count, samples", [(-1, 5), (6, 5), (0, 0)])
def test_counts_that_cannot_be(count, samples):
    with pytest.raises(ValueError, match="count is"):
        upper_bound(count, samples)
