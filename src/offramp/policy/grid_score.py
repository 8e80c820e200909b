"""Thresholds as AEBNAS sets them (Robben et al., arXiv 2512.10671): the best score of a grid.

`tune` finds better ones; this is here so that the paper's method can be carried out as it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import inf

from offramp.policy.curve import Point
from offramp.policy.deviation import PENALTY, penalised_error
from offramp.policy.policy import Policy, operate
from offramp.policy.subsets import Choice, Exits
from offramp.policy.table import ScoreTable

VALUES = (0.1, 0.2, 1.0)
"""The thresholds of the paper's genotype; the last stands for "no exit here"."""

ABSENT = 0.95
"""An exit whose threshold is above this is dropped."""


@dataclass(frozen=True)
class GridScored:
    """The best of a grid: the exits kept and the policy for them, its score (points of %), and how many were tried."""

    choice: Choice
    score: float
    evaluated: int


def grid_score(
    table: ScoreTable,
    costs_of: Callable[[Exits], Sequence[float]],
    target: float,
    *,
    measure: str = "margin",
    values: Sequence[float] = VALUES,
    absent: float = ABSENT,
    weight: float = PENALTY,
) -> GridScored:
    """The thresholds with the highest score(t) = accuracy% - 0.1 * 100 |cost - T| / T, of all combinations of `values`.

    Where a threshold is above `absent`, the exit is dropped before it is scored, its branch's cost with it: the network
    that is scored is the one that is used. At least one early exit is kept, where there is one: four exits and three
    values make 80 combinations. Of equal scores the first, in the order of `values`, earlier exits varying slowest.

    Args:
        table: N samples, E exits, the last always kept.
        costs_of: exits kept (positions in the table) -> what a sample costs in all that leaves at each, in any unit.
        target: T > 0, in that unit.
        measure: the confidence measure, the margin in the paper.
        values: thresholds in the measure's unit.
        absent: in the measure's unit.
        weight: of the deviation, in points of accuracy (%) for a point of it.

    Raises:
        ValueError: the target is not above 0 or not finite, no value is left at which an exit is kept, an unknown
            measure, or costs that do not fit.
    """
    if not any(value <= absent for value in values):
        raise ValueError(f"values is {tuple(values)}; at least one must be at most {absent}, so that an exit is kept")
    early, best, score, evaluated = table.exits - 1, None, -inf, 0
    costs: dict[Exits, tuple[ScoreTable, Sequence[float]]] = {}
    for thresholds in product(values, repeat=early):
        kept = tuple(e for e, t in enumerate(thresholds) if t <= absent)
        if early and not kept:
            continue
        exits = (*kept, early)
        if exits not in costs:
            costs[exits] = table.keep(exits), costs_of(exits)
        part, leaving = costs[exits]
        policy = Policy(measure, tuple(thresholds[e] for e in kept))
        operation = operate(policy, part, leaving)
        found = 100 - penalised_error(1 - operation.accuracy, operation.mean_cost, target, weight)
        evaluated += 1
        if found > score:
            best, score = Choice(exits, Point(policy, operation)), found
    assert best is not None
    return GridScored(best, score, evaluated)
