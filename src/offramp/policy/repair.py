"""Thresholds as NACHOS sets them (arXiv 2401.13330, released code): a shared one from a list, then a repair.

`tune` finds better ones; these are here so that the papers' method can be carried out as it is.
"""

from collections.abc import Sequence
from math import isnan

import numpy as np
from numpy.typing import NDArray

from offramp.policy.policy import Policy, Setting, operate
from offramp.policy.table import ScoreTable

SHARED = (0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8)


class RepairError(ValueError):
    """Thresholds that could not be made feasible."""


def shared_threshold(
    table: ScoreTable,
    costs: Sequence[float] | NDArray[np.float64],
    measure: str,
    *,
    values: Sequence[float] = SHARED,
    first: float = 0.7,
) -> Policy:
    """The same threshold at every exit, the one of `values` that is most accurate; at the first exit at least `first`.

    Of equally accurate ones the cheaper, then the earlier in `values`.

    Args:
        table: N samples, E exits.
        costs: (E,), the whole cost of a sample that leaves at exit e, any unit.
        measure: the confidence measure.
        values: thresholds in the measure's unit, at least one.
        first: the least threshold of the first exit, in the same unit.

    Raises:
        ValueError: no values, an unknown measure, or costs that do not fit the table.
    """
    if not values:
        raise ValueError("values must hold at least one threshold")
    early = table.exits - 1
    policies = [Policy(measure, (max(v, first), *[v] * (early - 1)) if early else ()) for v in values]
    operations = [operate(policy, table, costs) for policy in policies]
    best = min(range(len(policies)), key=lambda i: (-operations[i].accuracy, operations[i].mean_cost, i))
    return policies[best]


def repair(
    policy: Policy,
    table: ScoreTable,
    costs: Sequence[float] | NDArray[np.float64],
    *,
    max_cost: float,
    min_accuracy: float,
    step: float = 0.1,
) -> Setting:
    """Lower thresholds until the mean cost is `max_cost` at most, while the accuracy stays at least `min_accuracy`.

    Round after round over the early exits, from the second-last exit backwards, each is lowered by `step`. A step that
    takes the accuracy below `min_accuracy` (or further below it), or raises the mean cost, is taken back. A threshold
    that everybody reaches is not lowered. It ends when the cost is met, or when a whole round changes nothing: then
    this way does not lead to a feasible policy, and `feasible` (mean cost <= `max_cost`, accuracy >= `min_accuracy`)
    says so. What it gives never costs more than `policy`.

    Args:
        policy: where it starts.
        table: N samples, E exits; as many as `policy` is for.
        costs: (E,), the whole cost of a sample that leaves at exit e, any unit.
        max_cost: in the unit of the costs.
        min_accuracy: in 0..1.
        step: in the measure's unit, > 0.

    Raises:
        ValueError: `step` is not positive, a bound is NaN, or policy, table and costs do not fit one another.
    """
    if not step > 0:
        raise ValueError(f"step must be greater than 0, not {step}")
    if isnan(max_cost) or isnan(min_accuracy):
        raise ValueError(f"bounds must be numbers, not max_cost {max_cost} and min_accuracy {min_accuracy}")
    operation = operate(policy, table, costs)
    scores = table.scores(policy.measure)
    moved = True
    while moved and operation.mean_cost > max_cost:
        moved = False
        for e in range(table.exits - 2, -1, -1):
            lower = _lowered(policy.thresholds[e], scores[:, e], step)
            if lower is None:
                continue
            tried = Policy(policy.measure, (*policy.thresholds[:e], lower, *policy.thresholds[e + 1 :]))
            found = operate(tried, table, costs)
            kept = found.accuracy >= min(min_accuracy, operation.accuracy)
            if kept and found.mean_cost <= operation.mean_cost:
                policy, operation, moved = tried, found, True
            if operation.mean_cost <= max_cost:
                break
    holds = operation.mean_cost <= max_cost and operation.accuracy >= min_accuracy
    return Setting(policy, operation, holds)


def _lowered(threshold: float, scores: NDArray[np.float32], step: float) -> float | None:
    """`threshold` a step lower, between the exit's lowest and highest score; None where that is no lower."""
    low, high = float(scores.min()), float(scores.max())
    if threshold <= low:
        return None
    # From above all scores (an exit that is not there has +inf) the first step begins at the highest of them. Rounded,
    # so that steps do not drift, and to float32, so that a runtime that compares in float32 decides alike.
    wanted = max(round(min(threshold, high) - step, 9), low)
    lower = float(np.float32(wanted))
    return lower if lower < threshold else None
