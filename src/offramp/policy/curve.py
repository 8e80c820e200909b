"""The whole accuracy-cost curve: one network, many budgets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offramp.policy.archive import Archive
from offramp.policy.climb import exchange
from offramp.policy.confidence import MEASURES
from offramp.policy.goal import Goal
from offramp.policy.grid import try_each_exit, try_grids
from offramp.policy.lattice import Lattice
from offramp.policy.policy import Operation, Policy, operate
from offramp.policy.sweep import sweep
from offramp.policy.table import ScoreTable
from offramp.policy.tuner import EXACT_POINTS, named

CURVE_POINTS = 200
CURVE_CLIMBS = 60


@dataclass(frozen=True)
class Point:
    """One operating point: a policy and what it comes to on the table."""

    policy: Policy
    operation: Operation

    @property
    def accuracy(self) -> float:
        """In 0..1."""
        return self.operation.accuracy

    @property
    def mean_cost(self) -> float:
        """In the unit of the costs."""
        return self.operation.mean_cost

    @property
    def utilisation(self) -> tuple[float, ...]:
        """E shares of samples by the exit they left at."""
        return self.operation.utilisation


@dataclass(frozen=True)
class Curve:
    """Operating points of one network, cheapest first; each next one is both dearer and more accurate.

    Attributes:
        points: at least one.
        found: how many such points the sweep found before it was thinned.
        exact: whether every distinct threshold vector of every measure asked for was tried.
        evaluated: how many threshold vectors' accuracy and cost were computed.
    """

    points: tuple[Point, ...]
    found: int
    exact: bool
    evaluated: int

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[Point]:
        return iter(self.points)

    def at(self, goal: Goal) -> Point:
        """The best of the points for a goal; where none meets its constraint, the one nearest to it."""
        accuracy, cost = np.array([(p.accuracy, p.mean_cost) for p in self.points]).T
        return self.points[goal.best(accuracy, cost)]


def curve(
    table: ScoreTable,
    costs: Sequence[float] | NDArray[np.float64],
    *,
    measures: str | Sequence[str] = MEASURES,
    max_points: int = CURVE_POINTS,
    climbs: int = CURVE_CLIMBS,
    exact_points: int = EXACT_POINTS,
    min_gap: float = 0.0,
) -> Curve:
    """Sweep the price of cost over its whole range.

    Args:
        table: N samples, E exits.
        costs: (E,), the whole cost of a sample that leaves at exit e; any unit, in any order.
        measures: the confidence measure, or several whose best points are merged.
        max_points: the most points to keep (at least 2), both ends among them; about evenly spaced along the curve.
        climbs: the most coordinate ascents to spend on each measure.
        exact_points: where a measure has no more distinct threshold vectors than this, all are tried.
        min_gap: neighbouring scores no further apart than this are never separated (0: all distinct scores are).

    Raises:
        ValueError: an unknown measure, or none; costs that do not fit the table; max_points below 2.
    """
    if max_points < 2:
        raise ValueError(f"max_points must be at least 2, not {max_points}")
    archives = [_swept(table, costs, measure, climbs, exact_points, min_gap) for measure in named(measures)]
    fronts = [archive.front for archive in archives]
    source = np.repeat(np.arange(len(fronts)), [len(front[0]) for front in fronts])
    correct, cost = (np.concatenate([front[part] for front in fronts]) for part in (0, 1))
    ranks = np.concatenate([front[2] for front in fronts])
    best = _non_dominated(correct, cost)
    kept = best[_thinned(correct[best], cost[best], max_points)]
    policies = [archives[source[i]].lattice.ranking.policy(ranks[i]) for i in kept]
    points = tuple(Point(policy, operate(policy, table, costs)) for policy in policies)
    return Curve(
        points,
        found=len(best),
        exact=all(archive.lattice.points <= exact_points for archive in archives),
        evaluated=sum(archive.evaluated for archive in archives),
    )


def as_accurate(accuracy: float, accuracies: Sequence[float], costs: Sequence[float]) -> int | None:
    """Which of some operating points, by their (P,) accuracies and costs, is the cheapest of at least `accuracy`.

    To compare networks at equal accuracy, give accuracies on the split that thresholds were tuned on, and tell both
    figures on the test split: points picked by their test accuracy flatter.

    Returns:
        None where no point is that accurate.
    """
    enough = [i for i, reached in enumerate(accuracies) if reached >= accuracy]
    return min(enough, key=lambda i: costs[i], default=None)


def _swept(
    table: ScoreTable,
    costs: Sequence[float] | NDArray[np.float64],
    measure: str,
    climbs: int,
    exact_points: int,
    min_gap: float,
) -> Archive:
    archive = Archive(Lattice.of(table, costs, measure, min_gap))
    if archive.lattice.points <= exact_points:
        archive.evaluate_all()
        return archive
    try_each_exit(archive)
    try_grids(archive, table)
    # The sweep looks between two ends: all leave at the cheapest exit, and the most accurate policy, sought here.
    most_accurate = Goal.tradeoff(0.0)
    exchange(archive, most_accurate, archive.best(most_accurate))
    sweep(archive, _longest_first, climbs)
    return archive


def _longest_first(accuracy: NDArray[np.float64], cost: NDArray[np.float64]) -> list[int]:
    length = np.diff(_unit(accuracy)) + np.diff(_unit(cost))
    return [int(i) for i in np.argsort(-length, kind="stable")]


def _non_dominated(correct: NDArray[np.int64], cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions of the points that no other equals or beats in both, cheapest first; the first among equals."""
    order = np.lexsort((-correct, cost))
    record = np.maximum.accumulate(correct[order])
    return order[np.concatenate([[True], np.diff(record) > 0])]


def _thinned(correct: NDArray[np.int64], cost: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Positions of at most `most` points: both ends, and of each stretch of equal length the one bulging furthest."""
    if len(cost) <= most:
        return np.arange(len(cost))
    if most == 2:
        return np.array([0, len(cost) - 1])
    across, up = _unit(cost), _unit(correct)
    inner = np.arange(1, len(cost) - 1)
    stretch = ((across + up)[inner] / 2 * (most - 2)).astype(int).clip(0, most - 3)
    order = np.lexsort((across[inner] - up[inner], stretch))
    firsts = inner[order][np.concatenate([[True], np.diff(stretch[order]) > 0])]
    return np.concatenate([[0], firsts, [len(cost) - 1]])


def _unit(values: np.ndarray) -> NDArray[np.float64]:
    return (values - values[0]) / max(values[-1] - values[0], np.finfo(np.float64).tiny)
