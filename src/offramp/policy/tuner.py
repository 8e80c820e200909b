"""The best thresholds for a goal."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offramp.policy.archive import Archive
from offramp.policy.climb import climb, exchange
from offramp.policy.confidence import MEASURES
from offramp.policy.goal import Goal
from offramp.policy.grid import try_each_exit, try_grids
from offramp.policy.lattice import Lattice, Ranks
from offramp.policy.policy import Setting, operate
from offramp.policy.sweep import hull, sweep
from offramp.policy.table import ScoreTable

EXACT_POINTS = 2**18
BRACKET_CLIMBS = 24


@dataclass(frozen=True)
class Tuned(Setting):
    """The best policy found for a goal; where the goal's constraint cannot be met (`feasible`), the nearest to it.

    Attributes:
        exact: whether every distinct threshold vector of every measure asked for was tried: then none is better.
        evaluated: how many threshold vectors' accuracy and cost were computed.
    """

    exact: bool
    evaluated: int


def tune(
    table: ScoreTable,
    costs: Sequence[float] | NDArray[np.float64],
    goal: Goal,
    *,
    measures: str | Sequence[str] = MEASURES,
    restarts: int = 4,
    exact_points: int = EXACT_POINTS,
    min_gap: float = 0.0,
) -> Tuned:
    """Find the measure and the thresholds that serve a goal best on a table.

    Never worse than the grid of 9 values per exit (up to 4 thresholds, `min_gap` 0), score quantiles or evenly spaced.

    Args:
        table: N samples, E exits.
        costs: (E,), the whole cost of a sample that leaves at exit e; any unit, in any order.
        goal: in the unit of the costs.
        measures: the confidence measure, or several of which the best is taken; the first among equals.
        restarts: how many more local optima, besides the best one, block moves are tried from; each adds time.
        exact_points: where a measure has no more distinct threshold vectors than this, all are tried.
        min_gap: neighbouring scores no further apart than this are never separated (0: all distinct scores are).

    Raises:
        ValueError: an unknown measure, or none, or one that needs gates of a table without; costs that do not fit it.
    """
    archives = [_searched(table, costs, goal, measure, restarts, exact_points, min_gap) for measure in named(measures)]
    policies = [archive.lattice.ranking.policy(archive.best(goal)) for archive in archives]
    operations = [operate(policy, table, costs) for policy in policies]
    best = goal.best(np.array([o.accuracy for o in operations]), np.array([o.mean_cost for o in operations]))
    return Tuned(
        policies[best],
        operations[best],
        feasible=goal.holds(operations[best].accuracy, operations[best].mean_cost),
        exact=all(archive.lattice.points <= exact_points for archive in archives),
        evaluated=sum(archive.evaluated for archive in archives),
    )


def named(measures: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several as a tuple; ValueError if there are none."""
    names = (measures,) if isinstance(measures, str) else tuple(measures)
    if not names:
        raise ValueError(f"measures must name at least one of {', '.join(MEASURES)}")
    return names


def _searched(
    table: ScoreTable,
    costs: Sequence[float] | NDArray[np.float64],
    goal: Goal,
    measure: str,
    restarts: int,
    exact_points: int,
    min_gap: float,
) -> Archive:
    archive = Archive(Lattice.of(table, costs, measure, min_gap))
    if archive.lattice.points <= exact_points:
        archive.evaluate_all()
        return archive
    starts = try_each_exit(archive)
    try_grids(archive, table)
    sweep(archive, lambda accuracy, cost: _around(goal, accuracy, cost), BRACKET_CLIMBS)
    correct, cost, ranks = archive.front
    accuracy = correct / table.samples
    at = np.array(hull(accuracy, cost))
    near = [ranks[at[i]] for edge in _around(goal, accuracy[at], cost[at]) for i in (edge, edge + 1)]
    found = [climb(archive, goal, start) for start in [*near, *starts]]
    for start in [archive.best(goal), *_distinct(found)[:restarts]]:
        exchange(archive, goal, start)
    return archive


def _distinct(vectors: list[Ranks]) -> list[Ranks]:
    return list({tuple(ranks): ranks for ranks in vectors}.values())


def _around(goal: Goal, accuracy: NDArray[np.float64], cost: NDArray[np.float64]) -> list[int]:
    """The hull edges that meet at the goal's best vertex."""
    best = goal.best(accuracy, cost)
    return [edge for edge in (best, best - 1) if 0 <= edge < len(cost) - 1]
