"""How sure an exit is: measures that map the exits seen so far to scores."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Measure:
    """A confidence measure. The score of exit ``e`` may use the exits 0..e, and no later one.

    Attributes:
        score: logits (N, E, K) -> scores (N, E), larger is surer.
        span: classes K -> (low, high), finite: every score s that K classes can give has ``low <= s <= high``.
    """

    score: Callable[[NDArray[np.float32]], NDArray[np.floating]]
    span: Callable[[int], tuple[float, float]]


def confidence(measure: str, logits: np.ndarray) -> NDArray[np.float32]:
    """Score every exit of every sample.

    Args:
        measure: one of `MEASURES`.
        logits: (N, E, K), what each of E exits said of N samples and K classes; finite.

    Returns:
        (N, E) float32, larger is surer: ``max_probability`` in [1/K, 1], ``entropy`` negated, in nats, in [-log K, 0],
        ``margin`` (largest softmax probability minus the second largest) in [0, 1]. Computed in float64, rounded once.

    Raises:
        ValueError: the measure is unknown, or the logits are not (N, E, K), not finite, or of fewer than two classes.
    """
    scored = find(measure).score(checked_logits(logits))
    return scored.astype(np.float32)


def find(measure: str) -> Measure:
    """The measure of that name; ValueError that lists the names there are if it is none of them."""
    if measure not in _REGISTRY:
        raise ValueError(f"unknown confidence measure {measure!r}; choose one of {', '.join(_REGISTRY)}")
    return _REGISTRY[measure]


def checked_logits(logits: np.ndarray) -> NDArray[np.float32]:
    """`logits` as float32; ValueError unless they are (N, E, K) with N >= 1, E >= 1, K >= 2, and all finite."""
    with np.errstate(over="ignore"):
        logits = np.asarray(logits, dtype=np.float32)
    if logits.ndim != 3:
        raise ValueError(f"logits must have the shape (samples, exits, classes), not {logits.shape}")
    samples, exits, classes = logits.shape
    if samples < 1 or exits < 1 or classes < 2:
        raise ValueError(f"logits need at least 1 sample, 1 exit and 2 classes; their shape is {logits.shape}")
    finite = np.isfinite(logits)
    if not finite.all():
        sample, exit_, klass = (int(i[0]) for i in np.nonzero(~finite))
        what = "NaN" if np.isnan(logits).any() else "infinity"
        raise ValueError(
            f"logits hold {what}: {int((~finite).sum())} values are not finite, the first at sample {sample}, "
            f"exit {exit_}, class {klass}; was the training stable?"
        )
    return logits


def _each_exit(score: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Callable[..., NDArray[np.float64]]:
    """A measure that looks at one exit at a time, from a function of log-probabilities (N, K) -> (N,)."""

    def scored(logits: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.stack([score(_log_softmax(logits[:, e])) for e in range(logits.shape[1])], axis=1)

    return scored


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _max_probability(log_p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(log_p.max(axis=-1))


def _entropy(log_p: NDArray[np.float64]) -> NDArray[np.float64]:
    return (np.exp(log_p) * log_p).sum(axis=-1)


def _margin(log_p: NDArray[np.float64]) -> NDArray[np.float64]:
    second, first = np.exp(np.partition(log_p, -2, axis=-1)[:, -2:]).T
    return first - second


# The entropy's span is a little wide: of K equal logits, rounding may give a hair more than log K.
_REGISTRY = {
    "max_probability": Measure(_each_exit(_max_probability), lambda classes: (0.0, 1.0)),
    "entropy": Measure(_each_exit(_entropy), lambda classes: (-1.001 * log(classes), 0.0)),
    "margin": Measure(_each_exit(_margin), lambda classes: (0.0, 1.0)),
}

MEASURES: tuple[str, ...] = tuple(_REGISTRY)
