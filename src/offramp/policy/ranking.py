"""The scores of a table, sorted once: thresholds as whole numbers."""

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from offramp.policy.confidence import find
from offramp.policy.policy import Policy
from offramp.policy.table import ScoreTable


@dataclass(frozen=True, eq=False)
class Ranking:
    """Every exit's samples in levels of equal score, level 0 the surest; a threshold becomes a *rank*.

    Rank r at exit e: the samples of levels 0..r-1 leave, if they come so far; 0 is nobody, `sizes[e]` everybody.

    Attributes:
        measure: the confidence measure the scores are from.
        levels: (E - 1, N) int64, the level of each sample at each exit but the last.
        highest: for each exit but the last, (levels,) float32, descending: the largest score of each level.
        lowest: the smallest score of each level, likewise.
        floor: a score that no sample can fall below.
    """

    measure: str
    levels: NDArray[np.int64]
    highest: tuple[NDArray[np.float32], ...]
    lowest: tuple[NDArray[np.float32], ...]
    floor: float

    @classmethod
    def of(cls, table: ScoreTable, measure: str, min_gap: float = 0.0) -> "Ranking":
        """Sort the table's scores; neighbours no further apart than `min_gap` share a level."""
        scores = table.scores(measure)[:, :-1]
        ranked = [_levels(scores[:, e], min_gap) for e in range(scores.shape[1])]
        return cls(
            measure,
            np.array([levels for levels, _, _ in ranked], dtype=np.int64).reshape(-1, table.samples),
            tuple(highest for _, highest, _ in ranked),
            tuple(lowest for _, _, lowest in ranked),
            floor=float(np.float32(find(measure).span(table.classes)[0])),
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """(E - 1,), the number of levels at each exit."""
        return tuple(len(values) for values in self.highest)

    def policy(self, ranks: NDArray[np.int64]) -> Policy:
        """The policy of these ranks (E - 1,), its thresholds midway between the samples that come so far.

        Where nobody leaves the threshold is +inf, where everybody leaves it is the measure's floor. Every threshold is
        a float32, so a runtime that compares in float32 decides alike.
        """
        thresholds = []
        here = np.arange(self.levels.shape[1])
        for e, rank in enumerate(ranks):
            levels = self.levels[e, here]
            thresholds.append(self._threshold(e, levels, int(rank)))
            here = here[levels >= rank]
        return Policy(self.measure, tuple(thresholds))

    def ranks(self, thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
        """Ranks (E - 1, T) of thresholds (E - 1, T): how many levels lie at or above each (by their lowest score)."""
        found = [np.searchsorted(-low.astype(np.float64), -t, side="right") for low, t in zip(self.lowest, thresholds)]
        return np.array(found, dtype=np.int64).reshape(thresholds.shape)

    def _threshold(self, e: int, levels: NDArray[np.int64], rank: int) -> float:
        leave, stay = levels[levels < rank], levels[levels >= rank]
        if not leave.size:
            return inf
        if not stay.size:
            return self.floor
        return between(self.highest[e][stay.min()], self.lowest[e][leave.max()])


def between(low: np.float32, high: np.float32) -> float:
    """A float32 t with low < t <= high: midway, or `high` itself where no float32 lies between."""
    middle = np.float32((np.float64(low) + np.float64(high)) / 2)
    return float(middle if middle > low else high)


def _levels(scores: NDArray[np.float32], min_gap: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    starts = np.concatenate([[True], np.diff(-falling.astype(np.float64)) > min_gap])
    levels = np.empty(len(scores), dtype=np.int64)
    levels[order] = np.cumsum(starts) - 1
    return levels, falling[starts], falling[np.concatenate([starts[1:], [True]])]
