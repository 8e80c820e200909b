import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from offramp.policy import MEASURES, confidence
from offramp.policy.confidence import find


@pytest.fixture
def logits() -> np.ndarray:
    return (np.random.default_rng(0).normal(size=(50, 3, 7)) * 4).astype(np.float32)


@pytest.mark.parametrize(
    "measure, formula",
    [
        ("max_probability", lambda p: p.max(-1)),
        ("entropy", lambda p: -entropy(p, axis=-1)),
        ("margin", lambda p: np.sort(p, -1)[..., -1] - np.sort(p, -1)[..., -2]),
    ],
)
def test_equals_the_formula(logits, measure, formula):
    scores = confidence(measure, logits)
    assert scores.shape == (50, 3)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, formula(softmax(logits.astype(np.float64), axis=-1)), atol=1e-6)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4, 3e38])
def test_stays_within_its_span(measure, scale):
    logits = np.random.default_rng(1).uniform(-1, 1, size=(200, 2, 10)) * scale
    scores = confidence(measure, logits)
    low, high = find(measure).span(10)
    assert np.isfinite(scores).all()
    assert (scores >= np.float32(low)).all()
    assert (scores <= np.float32(high)).all()


@pytest.mark.parametrize("measure", MEASURES)
def test_a_surer_answer_scores_higher(measure):
    scores = confidence(measure, np.array([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [9, 0, 0]]]))
    assert (np.diff(scores[0]) > 0).all()


@pytest.mark.parametrize("measure", MEASURES)
def test_does_not_look_ahead(logits, measure):
    changed = logits.copy()
    changed[:, 2] += 5 * np.random.default_rng(2).normal(size=changed[:, 2].shape)
    np.testing.assert_array_equal(confidence(measure, logits)[:, :2], confidence(measure, changed)[:, :2])


def test_an_unknown_measure_lists_those_there_are(logits):
    with pytest.raises(ValueError, match=r"'certainty'.*max_probability, entropy, margin"):
        confidence("certainty", logits)


@pytest.mark.parametrize(
    "logits, message",
    [
        (np.zeros((4, 3)), r"\(samples, exits, classes\), not \(4, 3\)"),
        (np.zeros((0, 3, 2)), "at least 1 sample"),
        (np.zeros((4, 0, 2)), "1 exit"),
        (np.zeros((4, 3, 1)), "2 classes"),
        (np.where(np.arange(24).reshape(4, 3, 2) == 9, np.nan, 0.0), "NaN: 1 values.*sample 1, exit 1, class 1"),
        (np.where(np.arange(24).reshape(4, 3, 2) == 9, 1e300, 0.0), "infinity: 1 values"),
    ],
)
def test_logits_that_cannot_be_scored(logits, message):
    with pytest.raises(ValueError, match=message):
        confidence("margin", logits)
