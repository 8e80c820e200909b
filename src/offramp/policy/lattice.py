"""Accuracy and cost of every combination of chosen ranks, in one pass over the samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from offramp.policy.policy import checked_costs
from offramp.policy.ranking import Ranking
from offramp.policy.table import ScoreTable

Ranks = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lattice:
    """All threshold vectors of a ranking, each a point with integer coordinates.

    Attributes:
        ranking: of N samples and E exits.
        correct: (E, N) bool.
        costs: (E,) float64.
    """

    ranking: Ranking
    correct: NDArray[np.bool_]
    costs: NDArray[np.float64]

    @classmethod
    def of(
        cls, table: ScoreTable, costs: Sequence[float] | np.ndarray, measure: str, min_gap: float = 0.0
    ) -> "Lattice":
        """The lattice of a table under a measure; ValueError where the costs do not fit."""
        ranking = Ranking.of(table, measure, min_gap)
        return cls(ranking, np.ascontiguousarray(table.correct.T), checked_costs(costs, table))

    @property
    def samples(self) -> int:
        """N."""
        return self.correct.shape[1]

    @property
    def axes(self) -> int:
        """E - 1, the number of thresholds."""
        return len(self.ranking.sizes)

    @property
    def points(self) -> int:
        """The number of threshold vectors that differ in some rank."""
        return prod(size + 1 for size in self.ranking.sizes)

    def evaluate(self, choices: Sequence[Ranks]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Count the right answers and sum the costs at every combination of the chosen ranks.

        The samples are binned once between the chosen ranks, exit by exit; cumulative sums over the joint histogram of
        the bins then hold the counts of all combinations. So C combinations cost O(N E + C E), not O(N E C).

        Args:
            choices: E - 1 ascending arrays of ranks, of G_0, ..., G_{E-2} members.

        Returns:
            Two arrays (G_0, ..., G_{E-2}): right answers (0..N) and mean cost, to the bit what `operate` says.
        """
        correct = np.zeros([len(chosen) for chosen in choices], dtype=np.int64)
        cost = np.zeros(correct.shape)
        crowd = _Crowd(np.arange(self.samples), np.zeros(self.samples, dtype=np.int64), (1,) * self.axes)
        for e, chosen in enumerate(choices):
            leaving, crowd = crowd.split(e, chosen, self.ranking)
            right, left = leaving.count(e, self.correct[e])
            correct += right
            cost += left * self.costs[e]
        right, left = crowd.count(self.axes, self.correct[-1])
        return correct + right, (cost + left * self.costs[-1]) / self.samples


@dataclass(frozen=True, eq=False)
class _Crowd:
    """Samples at one exit, in the joint histogram of the bins they had at the exits before.

    Attributes:
        samples: (S,) positions in the table.
        cells: (S,) flat index of each in the histogram.
        widths: E - 1 widths of the histogram: the chosen ranks and one at exits with a choice, 1 at the others.
    """

    samples: Ranks
    cells: Ranks
    widths: tuple[int, ...]

    def split(self, e: int, chosen: Ranks, ranking: Ranking) -> tuple["_Crowd", "_Crowd"]:
        """Those who leave at exit e at some choice, and those who go on at some choice."""
        levels = ranking.levels[e, self.samples]
        if len(chosen) == 1:
            leaves = levels < chosen[0]
            return self._take(leaves), self._take(~leaves)
        bins = np.cumsum(np.bincount(chosen, minlength=ranking.sizes[e] + 1))[levels]
        width = len(chosen) + 1
        widths = (*self.widths[:e], width, *self.widths[e + 1 :])
        crowd = _Crowd(self.samples, self.cells * width + bins, widths)
        return crowd, crowd if bins.all() else crowd._take(bins > 0)

    def count(self, e: int, correct: NDArray[np.bool_]) -> tuple[Ranks, Ranks]:
        """Right answers and samples that leave at exit e, shaped to broadcast against all combinations."""
        answers = correct.take(self.samples)
        if len(self.widths) == self.widths.count(1):
            return np.full(self.widths, np.count_nonzero(answers)), np.full(self.widths, len(answers))
        right = self.cells.take(np.flatnonzero(answers))
        return self._cumulate(right, e), self._cumulate(self.cells, e)

    def _cumulate(self, cells: Ranks, e: int) -> Ranks:
        """Sum the histogram over the bins that went on at the exits before e, and that leave at e.

        Bin b leaves from the choice b on: it went on at choice g < b, and leaves at g >= b.
        """
        counted = np.bincount(cells, minlength=prod(self.widths)).reshape(self.widths)
        for axis, width in enumerate(self.widths):
            if width == 1:
                continue
            if axis < e:
                counted = counted[_along(axis, slice(None, 0, -1))].cumsum(axis)[_along(axis, slice(None, None, -1))]
            else:
                counted = counted[_along(axis, slice(0, -1))].cumsum(axis)
        return counted

    def _take(self, those: NDArray[np.bool_]) -> "_Crowd":
        at = np.flatnonzero(those)
        return _Crowd(self.samples.take(at), self.cells.take(at), self.widths)


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (part,)
