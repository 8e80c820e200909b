"""The non-dominated points of everything evaluated."""

from collections.abc import Sequence
from math import inf

import numpy as np
from numpy.typing import NDArray

from offramp.policy.goal import Goal
from offramp.policy.lattice import Lattice, Ranks


class Archive:
    """A lattice, and for each count of right answers the cheapest threshold vector evaluated so far.

    Every goal prefers more accuracy and less cost, so the best point evaluated is here whatever the goal. Among points
    of equal accuracy and cost the first evaluated stays.
    """

    def __init__(self, lattice: Lattice) -> None:
        self.lattice = lattice
        self.evaluated = 0
        self._cost = np.full(lattice.samples + 1, inf)
        self._ranks = np.zeros((lattice.samples + 1, lattice.axes), dtype=np.int64)
        self._frontier = self._cost.copy()

    def evaluate(self, choices: Sequence[Ranks]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """`Lattice.evaluate`, remembered."""
        correct, cost = self.lattice.evaluate(choices)
        self.evaluated += correct.size
        self._remember(choices, correct, cost)
        return correct, cost

    def evaluate_all(self) -> None:
        """Evaluate every distinct threshold vector."""
        self.evaluate([np.arange(size + 1) for size in self.lattice.ranking.sizes])

    @property
    def front(self) -> tuple[NDArray[np.int64], NDArray[np.float64], Ranks]:
        """The P non-dominated points, cheapest first: right answers (P,), mean cost (P,), ranks (P, E - 1)."""
        correct = np.flatnonzero(self._cost < np.append(self._frontier[1:], inf))
        return correct, self._cost[correct], self._ranks[correct]

    def best(self, goal: Goal) -> Ranks:
        """(E - 1,), the ranks of the best point evaluated."""
        correct, cost, ranks = self.front
        return ranks[goal.best(correct / self.lattice.samples, cost)]

    def _remember(self, choices: Sequence[Ranks], correct: NDArray[np.int64], cost: NDArray[np.float64]) -> None:
        correct, cost = correct.ravel(), cost.ravel()
        new = np.flatnonzero(cost < self._frontier[correct])
        if not new.size:
            return
        new = new[np.lexsort((cost[new], correct[new]))]
        new = new[np.concatenate([[True], np.diff(correct[new]) > 0])]
        shape = tuple(len(chosen) for chosen in choices)
        self._cost[correct[new]] = cost[new]
        for axis, position in enumerate(np.unravel_index(new, shape) if shape else ()):
            self._ranks[correct[new], axis] = choices[axis][position]
        self._frontier = np.minimum.accumulate(self._cost[::-1])[::-1]
