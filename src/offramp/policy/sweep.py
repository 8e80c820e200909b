"""Lagrange multipliers: the vertices of the accuracy-cost hull, edge by edge."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from offramp.policy.archive import Archive
from offramp.policy.climb import climb
from offramp.policy.goal import Goal

Edge = tuple[int, int]
Pick = Callable[[NDArray[np.float64], NDArray[np.float64]], list[int]]


def hull(accuracy: NDArray[np.float64], cost: NDArray[np.float64]) -> list[int]:
    """Positions of the vertices of the upper hull of P points that ascend in accuracy and in cost."""
    kept: list[int] = []
    for i in range(len(cost)):
        while len(kept) > 1 and _below(kept[-2], kept[-1], i, accuracy, cost):
            kept.pop()
        kept.append(i)
    return kept


def sweep(archive: Archive, pick: Pick, climbs: int) -> None:
    """Look behind hull edges until none that `pick` wants is new, or `climbs` coordinate ascents are spent.

    An edge's slope is the price of cost at which both its ends are equally good; if a climb at that price, from either
    end, finds something better, it lies beyond the edge and splits it. The archive keeps what is found on the way.

    Args:
        archive: with at least one point in it.
        pick: accuracy (V,) and cost (V,) of the hull's vertices, ascending -> the positions 0..V-2 of the edges wanted
            (edge i joins the vertices i and i + 1), most wanted first.
        climbs: the most coordinate ascents to make.
    """
    seen: set[tuple[int, int]] = set()
    while climbs > 0:
        correct, cost, ranks = archive.front
        accuracy = correct / archive.lattice.samples
        at = hull(accuracy, cost)
        edges = [(at[i], at[i + 1]) for i in pick(accuracy[at], cost[at])]
        new = [(a, b) for a, b in edges if (int(correct[a]), int(correct[b])) not in seen]
        if not new:
            return
        for a, b in new[: (climbs + 1) // 2]:
            seen.add((int(correct[a]), int(correct[b])))
            goal = Goal.tradeoff(float((accuracy[b] - accuracy[a]) / (cost[b] - cost[a])))
            for start in (ranks[a], ranks[b])[:climbs]:
                climb(archive, goal, start)
                climbs -= 1


def _below(a: int, b: int, c: int, accuracy: NDArray[np.float64], cost: NDArray[np.float64]) -> bool:
    return bool((accuracy[b] - accuracy[a]) * (cost[c] - cost[a]) <= (accuracy[c] - accuracy[a]) * (cost[b] - cost[a]))
