"""The accuracy-cost curve over all thresholds and all subsets of a network's exits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np

from offramp.policy.confidence import MEASURES
from offramp.policy.curve import CURVE_CLIMBS, Point, curve
from offramp.policy.table import ScoreTable
from offramp.policy.tuner import EXACT_POINTS

SUBSETS = 64
"""The most subsets that are looked at: all of them up to 7 exits."""

Exits = tuple[int, ...]
"""Positions in a table's exits, ascending."""


@dataclass(frozen=True)
class Choice:
    """The exits kept (positions in the table), and a policy for these alone: thresholds as many as exits less one."""

    exits: Exits
    point: Point


def subset_curve(
    table: ScoreTable,
    costs_of: Callable[[Exits], Sequence[float]],
    *,
    measures: str | Sequence[str] = MEASURES,
    climbs: int = CURVE_CLIMBS,
    exact_points: int = EXACT_POINTS,
    subsets: int = SUBSETS,
) -> tuple[Choice, ...]:
    """The non-dominated points of the curves of every exit subset, cheapest first.

    An exit that few samples leave at costs its branch for all that pass; left out, it costs nothing. The last exit is
    always kept: a network cut off before it is one in which everybody leaves there.

    Args:
        table: N samples, E exits.
        costs_of: exits kept -> what a sample costs in all that leaves at each of them, in any unit.
        measures: as for `curve`.
        climbs: as for `curve`, spent on each subset.
        exact_points: as for `curve`.
        subsets: the most subsets to look at; beyond it the network as it is, and those of the fewest exits.

    Raises:
        ValueError: an unknown measure, or none; costs that do not fit the exits.
    """
    found = [
        Choice(exits, point)
        for exits in exit_subsets(table.exits, subsets)
        for point in curve(
            table.keep(exits), costs_of(exits), measures=measures, climbs=climbs, exact_points=exact_points
        )
    ]
    # Of equal points that with fewer exits.
    found.sort(key=lambda choice: (choice.point.mean_cost, -choice.point.accuracy, len(choice.exits)))
    best = np.maximum.accumulate([choice.point.accuracy for choice in found])
    return tuple(found[i] for i in np.flatnonzero(np.diff(best, prepend=-1) > 0))


def exit_subsets(exits: int, most: int = SUBSETS) -> list[Exits]:
    """All exits, then the last with none, one, two ... of the others; `most` subsets at most."""
    last = exits - 1
    fewer = ((*early, last) for count in range(last) for early in combinations(range(last), count))
    return [tuple(range(exits)), *islice(fewer, most - 1)]


def neighbours(exits: Exits) -> tuple[list[Exits], list[Exits]]:
    """With one early exit less or more, and with another in the place of one; the last stays."""
    *kept, last = exits
    absent = [e for e in range(last) if e not in kept]
    less = [{*kept} - {e} for e in kept]
    more = [{*kept} | {e} for e in absent]
    other = [part | {e} for part in less for e in absent]
    changed, exchanged = ([(*sorted(early), last) for early in found] for found in ([*less, *more], other))
    return changed, exchanged
