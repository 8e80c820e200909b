"""How sure an exit is: measures that map the exits seen so far to scores."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

CERTAIN = 30.0
"""The gate's logit of an exit that has no gate, as the final one: its confidence is 1 (in float32 exactly)."""


@dataclass(frozen=True)
class Measure:
    """A confidence measure. The score of exit ``e`` may use the exits 0..e, and no later one.

    Attributes:
        score: logits (N, E, K), or for a `gated` measure the gates' logits (N, E) -> scores (N, E), larger is surer.
        span: classes K -> (low, high), finite: every score s that K classes can give has ``low <= s <= high``.
        gated: whether it reads what the exits' gates say, not their classes.
    """

    score: Callable[[NDArray[np.float32]], NDArray[np.floating]]
    span: Callable[[int], tuple[float, float]]
    gated: bool = False


def confidence(measure: str, logits: np.ndarray, gates: np.ndarray | None = None) -> NDArray[np.float32]:
    """Score every exit of every sample.

    Args:
        measure: one of `MEASURES`, or of `GATE_MEASURES` where there are gates.
        logits: (N, E, K), what each of E exits said of N samples and K classes; finite.
        gates: (N, E), the logits of the exits' own confidences c = sigmoid; `CERTAIN` at exits without a gate. A
            network of one exit needs none: samples always leave there.

    Returns:
        (N, E) float32, larger is surer: ``max_probability`` in [1/K, 1], ``entropy`` negated, in nats, in [-log K, 0],
        ``margin`` (largest softmax probability minus the second largest) in [0, 1]; of the gates ``gate``
        (c_e times the product of 1 - c_k over the exits k < e, NACHOS eq. 5) and ``gate_sum`` (the running sum of that,
        1 minus the product of 1 - c_k over k <= e), both in [0, 1]. Computed in float64, rounded once.

    Raises:
        ValueError: the measure is unknown, or needs gates and there are none; the logits are not (N, E, K), not finite,
            or of fewer than two classes; the gates are not (N, E), or not finite.
    """
    found, logits = find(measure), checked_logits(logits)
    if not found.gated:
        return found.score(logits).astype(np.float32)
    if gates is None and logits.shape[1] > 1:
        raise ValueError(
            f"measure {measure!r} reads the exits' gates, but these exits have none; choose one of "
            f"{', '.join(MEASURES)}, or a network whose exits have a gate"
        )
    if gates is None:
        gates = np.full(logits.shape[:2], CERTAIN)
    return found.score(checked_gates(gates, logits)).astype(np.float32)


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


def checked_gates(gates: np.ndarray, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """`gates` as float32; ValueError unless they are one finite number for each sample and exit of `logits`."""
    with np.errstate(over="ignore"):
        gates = np.asarray(gates, dtype=np.float32)
    if gates.shape != logits.shape[:2]:
        raise ValueError(f"gates must have the shape {logits.shape[:2]}, (samples, exits), not {gates.shape}")
    if not np.isfinite(gates).all():
        raise ValueError(f"gates hold {int((~np.isfinite(gates)).sum())} values that are not finite")
    return gates


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


def _gate(gates: NDArray[np.float32]) -> NDArray[np.float64]:
    # Of products, not of differences: 1 - c would round away what a very sure gate leaves.
    logits = gates.astype(np.float64)
    stays = np.cumprod(sigmoid(-logits), axis=1)
    return sigmoid(logits) * np.column_stack([np.ones(len(logits)), stays[:, :-1]])


def _gate_sum(gates: NDArray[np.float32]) -> NDArray[np.float64]:
    stays = np.cumprod(sigmoid(-gates.astype(np.float64)), axis=1, dtype=np.float64)
    return 1.0 - stays


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), any shape."""
    return np.exp(np.minimum(x, 0.0) - np.log1p(np.exp(-np.abs(x))))  # never overflows


# The entropy's span is a little wide: of K equal logits, rounding may give a hair more than log K.
_REGISTRY = {
    "max_probability": Measure(_each_exit(_max_probability), lambda classes: (0.0, 1.0)),
    "entropy": Measure(_each_exit(_entropy), lambda classes: (-1.001 * log(classes), 0.0)),
    "margin": Measure(_each_exit(_margin), lambda classes: (0.0, 1.0)),
    "gate": Measure(_gate, lambda classes: (0.0, 1.0), gated=True),
    "gate_sum": Measure(_gate_sum, lambda classes: (0.0, 1.0), gated=True),
}

MEASURES: tuple[str, ...] = tuple(name for name, measure in _REGISTRY.items() if not measure.gated)
"""Those of the exits' logits, which every network has."""
GATE_MEASURES: tuple[str, ...] = tuple(name for name, measure in _REGISTRY.items() if measure.gated)
"""Those of the exits' gates."""
