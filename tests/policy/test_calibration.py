import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_tables import lifelike_table, tables
from sklearn.calibration import calibration_curve

from offramp.policy import (
    CERTAIN,
    MEASURES,
    Policy,
    ScoreTable,
    calibration_error,
    exit_calibration,
    policy_calibration,
)
from offramp.policy.calibration import certainty

PAIRS = st.lists(
    st.tuples(st.one_of(st.sampled_from([0.0, 1 / 15, 0.2, 2 / 3, 1.0]), st.floats(0, 1)), st.booleans()),
    min_size=1,
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(PAIRS, st.sampled_from([1, 2, 15]))
def test_it_is_what_scikit_learn_s_reliability_curve_comes_to(pairs, bins) -> None:
    sure, right = np.array([s for s, _ in pairs]), np.array([r for _, r in pairs])
    accuracy, mean = calibration_curve(right, sure, n_bins=bins)
    counts = np.bincount(np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], sure), minlength=bins)
    expected = np.sum(counts[counts > 0] * np.abs(accuracy - mean)) / len(pairs)
    assert calibration_error(sure, right, bins) == pytest.approx(expected, abs=1e-12)


def test_what_is_always_sure_errs_by_what_it_gets_wrong() -> None:
    right = np.array([True] * 7 + [False] * 3)
    assert calibration_error(np.ones(10), right) == pytest.approx(0.3)
    assert calibration_error(np.full(10, 0.7), right) == pytest.approx(0.0)
    # Errors of different bins do not cancel.
    assert calibration_error(np.array([0.1, 0.9]), np.array([True, False])) == pytest.approx(0.9)


@settings(max_examples=60, deadline=None)
@given(tables(), st.sampled_from(MEASURES))
def test_certainty_is_a_share_that_rises_with_the_score(table, measure) -> None:
    sure, scores = certainty(table, measure), table.scores(measure)
    assert ((sure >= 0) & (sure <= 1)).all()
    order = np.argsort(scores, axis=None)
    assert (np.diff(sure.ravel()[order]) >= 0).all()
    if measure != "entropy":
        assert sure == pytest.approx(scores)


def test_certainty_of_the_entropy_is_the_share_of_the_largest() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 2, 7)) * 3
    logits[0] = 0.0
    p = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    expected = 1 + (p * np.log(p)).sum(axis=2) / np.log(7)
    assert certainty(ScoreTable(logits, np.zeros(50, dtype=int)), "entropy") == pytest.approx(expected, abs=1e-6)
    alike = ScoreTable(np.zeros((9, 1, 5)), np.zeros(9, dtype=int))
    assert policy_calibration(Policy("entropy", ()), alike) == pytest.approx(1.0, abs=1e-6)


def test_certainty_of_a_gate_is_its_own_and_not_what_reaches_it() -> None:
    table = lifelike_table(40, 3, 5, 0)
    gates = np.random.default_rng(0).normal(size=(40, 3)) * 3
    gates[:, 2] = CERTAIN
    gated = ScoreTable(table.logits, table.labels, gates)
    for measure in ("gate", "gate_sum"):
        sure = certainty(gated, measure)
        assert sure[:, :2] == pytest.approx(1 / (1 + np.exp(-gates[:, :2])), rel=1e-5)
        assert sure[:, 2] == pytest.approx(table.scores("max_probability")[:, 2])
    single = table.keep([2])
    assert exit_calibration(single, "gate") == exit_calibration(single, "max_probability")


def test_the_whole_counts_each_sample_where_it_leaves() -> None:
    table = lifelike_table(500, 3, 4, 1)
    everybody = [calibration_error(table.scores("margin")[:, e].astype(float), table.correct[:, e]) for e in range(3)]
    assert exit_calibration(table, "margin") == pytest.approx(tuple(everybody))
    assert policy_calibration(Policy("margin", (2.0, 0.0)), table) == pytest.approx(everybody[1])
    policy = Policy("margin", (0.6, 0.8))
    exits = policy.decide(table)
    sure = [float(table.scores("margin")[i, e]) for i, e in enumerate(exits)]
    right = [bool(table.correct[i, e]) for i, e in enumerate(exits)]
    assert policy_calibration(policy, table) == pytest.approx(calibration_error(np.array(sure), np.array(right)))


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="must be"):
        calibration_error(np.zeros(0), np.zeros(0, dtype=bool))
    with pytest.raises(ValueError, match="must be"):
        calibration_error(np.zeros(3), np.zeros(2, dtype=bool))
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="certainties must lie"):
            calibration_error(np.array([wrong]), np.array([True]))
    with pytest.raises(ValueError, match="unknown confidence measure"):
        certainty(lifelike_table(5, 2, 3, 0), "luck")
