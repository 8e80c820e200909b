"""From one threshold vector to a better one: exact moves along one axis, and over blocks of axes."""

from collections.abc import Iterable
from itertools import combinations

import numpy as np

from offramp.policy.archive import Archive
from offramp.policy.goal import Goal
from offramp.policy.lattice import Lattice, Ranks


def climb(archive: Archive, goal: Goal, ranks: Ranks) -> Ranks:
    """Coordinate ascent: each threshold in turn takes its best value among all distinct cuts, until none improves.

    Ties go to the lower cost, then to the higher threshold.
    """
    axes = archive.lattice.axes
    best = point(archive, ranks)
    e = still = 0
    while still < axes:
        ranks, found = _move(archive, goal, ranks, {e: np.arange(archive.lattice.ranking.sizes[e] + 1)})
        still = 1 if goal.better(found, best) else still + 1
        best = found
        e = (e + 1) % axes
    return ranks


def exchange(archive: Archive, goal: Goal, ranks: Ranks, cells: int = 16384, largest: int | None = None) -> Ranks:
    """Climb, and where that is stuck move blocks of thresholds at once: pairs, then (of up to 4) triples.

    A tight constraint holds every single threshold where it is; two that move against each other get past it. A block
    of m axes is searched on a grid of about `cells` points: every cut where there are few, else half of them spread
    over the samples that come so far and half next to where the threshold is now.
    """
    if largest is None:
        largest = 3 if archive.lattice.axes <= 4 else 2
    while True:
        ranks = climb(archive, goal, ranks)
        moved = _first_better(archive, goal, ranks, cells, largest)
        if moved is None:
            return ranks
        ranks = moved


def _first_better(archive: Archive, goal: Goal, ranks: Ranks, cells: int, largest: int) -> Ranks | None:
    now = point(archive, ranks)
    for block in _blocks(archive.lattice.axes, largest):
        each = round(cells ** (1 / len(block)))
        cuts = {e: nearby(archive.lattice, e, ranks, each, block) for e in block}
        moved, found = _move(archive, goal, ranks, cuts)
        if goal.better(found, now):
            return moved
    return None


def _blocks(axes: int, largest: int) -> Iterable[tuple[int, ...]]:
    for size in range(2, min(largest, axes) + 1):
        yield from combinations(range(axes), size)


def _move(archive: Archive, goal: Goal, ranks: Ranks, cuts: dict[int, Ranks]) -> tuple[Ranks, tuple[float, float]]:
    """The best of all combinations of the cuts at some exits, the other ranks fixed; its accuracy and cost."""
    choices = [cuts.get(e, ranks[e : e + 1]) for e in range(len(ranks))]
    correct, cost = archive.evaluate(choices)
    accuracy = correct / archive.lattice.samples
    best = goal.best(accuracy, cost)
    where = np.unravel_index(best, correct.shape)
    moved = np.array([chosen[i] for chosen, i in zip(choices, where)], dtype=np.int64)
    return moved, (float(accuracy.flat[best]), float(cost.flat[best]))


def point(archive: Archive, ranks: Ranks) -> tuple[float, float]:
    """Accuracy and mean cost at some ranks (E - 1,)."""
    correct, cost = archive.evaluate([ranks[e : e + 1] for e in range(len(ranks))])
    return float(correct.item() / archive.lattice.samples), float(cost.item())


def nearby(lattice: Lattice, e: int, ranks: Ranks, count: int, free: tuple[int, ...]) -> Ranks:
    """At most `count` ranks of exit e: nobody, everybody, where it is now; half near that, half spread evenly over the
    samples that reach e when the exits in `free` let everybody pass."""
    size = lattice.ranking.sizes[e]
    if size < count:
        return np.arange(size + 1)
    levels = np.unique(lattice.ranking.levels[e, _reaching(lattice, e, ranks, free)]) + 1
    cuts = np.concatenate([[0], levels])
    spread = cuts[np.linspace(0, len(cuts) - 1, max(2, count // 2)).round().astype(int)]
    here = int(np.searchsorted(cuts, ranks[e]))
    close = cuts[max(0, here - count // 4) : here + (count + 3) // 4]
    return np.unique(np.concatenate([spread, close, ranks[e : e + 1]]))


def _reaching(lattice: Lattice, e: int, ranks: Ranks, free: tuple[int, ...]) -> np.ndarray:
    fixed = [j for j in range(e) if j not in free]
    return np.flatnonzero((lattice.ranking.levels[fixed] >= ranks[fixed, None]).all(axis=0))
