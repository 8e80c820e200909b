"""Whether an exit is as often right as it is sure."""

import numpy as np
from numpy.typing import NDArray

from offramp.policy.confidence import CERTAIN, find, sigmoid
from offramp.policy.policy import Policy
from offramp.policy.table import ScoreTable

BINS = 15


def certainty(table: ScoreTable, measure: str) -> NDArray[np.float64]:
    """(N, E) in 0..1, what a leaving rule's measure says of the chance that each exit is right.

    Of a measure of the logits its score, from its least possible value (0) to its largest (1): the largest probability
    and the margin as they are, the negated entropy as 1 - H / log K. Of a measure of gates the exit's own confidence
    c = sigmoid(gate), which NACHOS trains to be that chance, and not the c^r that thresholds are compared with; at an
    exit without a gate, as the final one, the largest probability.

    Raises:
        ValueError: the measure is unknown.
    """
    found = find(measure)
    if found.gated:
        probability = certainty(table, "max_probability")
        if table.gates is None:
            return probability
        return np.where(table.gates == CERTAIN, probability, sigmoid(table.gates.astype(np.float64)))
    scores = table.scores(measure).astype(np.float64)
    if measure == "entropy":
        return (1 + scores / np.log(table.classes)).clip(0, 1)  # its span is wider, see there
    low, high = found.span(table.classes)
    return (scores - low) / (high - low)


def calibration_error(sure: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS) -> float:
    """Expected calibration error, in 0..1 (Guo et al., ICML 2017, eq. 3): sum_b |B_b| / N |accuracy(B_b) - mean(B_b)|.

    B_b are the samples whose certainty lies in (b / bins, (b + 1) / bins], bins of equal width; 0 is in the first.

    Args:
        sure: (N,), certainties in 0..1; at least one.
        right: (N,), whether the answer was right.
        bins: how many.

    Raises:
        ValueError: no samples, shapes that differ, or a certainty outside 0..1.
    """
    sure = np.asarray(sure, dtype=np.float64)
    if sure.ndim != 1 or sure.shape != np.shape(right) or not sure.size:
        raise ValueError(f"sure and right must be (N,), N >= 1, not of shapes {sure.shape} and {np.shape(right)}")
    if not ((sure >= 0) & (sure <= 1)).all():
        raise ValueError(f"certainties must lie in 0..1, not {sure.min()}..{sure.max()}")
    edges = np.linspace(0.0, 1.0, bins + 1)
    where = np.searchsorted(edges[1:-1], sure, side="left")
    gaps = np.bincount(where, weights=sure - right, minlength=bins)
    return float(np.abs(gaps).sum() / sure.size)


def exit_calibration(table: ScoreTable, measure: str) -> tuple[float, ...]:
    """E expected calibration errors, each of one exit on all samples, whether they would leave there or not."""
    sure = certainty(table, measure)
    return tuple(calibration_error(sure[:, e], table.correct[:, e]) for e in range(table.exits))


def policy_calibration(policy: Policy, table: ScoreTable) -> float:
    """The expected calibration error of the whole: each sample counts at the exit at which it leaves."""
    taken = np.arange(table.samples), policy.decide(table)
    return calibration_error(certainty(table, policy.measure)[taken], table.correct[taken])
