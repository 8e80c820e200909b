"""Where samples leave, predicted; costs that are means over samples follow from that and from what is known exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from offramp.search.surrogates import Surrogate, best_ranking, ranks

Array = NDArray[np.float64]
Exits = tuple[int, ...]
"""The stages that have an exit, ascending."""


class ShareModel:
    """Predicts, for each stage behind which some network exits early, the share of samples that have left by then.

    One surrogate per such stage, each fitted to all networks: what has left by a stage is defined for those without an
    exit there, too. "auto" chooses the model once, by how it ranks the mean stage at which samples leave.

    Attributes:
        name: which model it is.
        ranks: as `Surrogate.ranks`, of the mean stage.
    """

    def __init__(self, model: str, x: Array, exits: Sequence[Exits], shares: Sequence[Sequence[float]], seed: int = 0):
        """Fit `model` to features `x` (N, F) of networks with these exits and the shares that left at each of them.

        Networks whose shares are not one for each of their exits are left out.

        Raises:
            ValueError: unknown model.
        """
        self._stages = sorted({stage for e in exits for stage in e[:-1]})
        usable = [len(s) == len(e) for e, s in zip(exits, shares)]
        self.name, self.ranks = model, {}
        if model == "auto":
            mean = [float(np.dot(e, s)) if fits else np.nan for e, s, fits in zip(exits, shares, usable)]
            self.ranks = ranks(x, np.array(mean), seed)
            self.name = best_ranking(self.ranks)
        nothing = [np.nan] * len(self._stages)
        left = [self._left(e, s) if fits else nothing for e, s, fits in zip(exits, shares, usable)]
        columns = np.array(left).reshape(len(left), len(self._stages)).T
        self._fitted = [Surrogate(self.name, x, column, seed) for column in columns]

    def predict(self, x: Array, exits: Sequence[Exits]) -> list[Array]:
        """The shares that leave at each exit of networks with features `x` (N, F): not negative, with sum 1."""
        columns = [model.predict(x) for model in self._fitted]
        table = np.array([np.zeros(len(x)), *columns]).T  # before the first of the stages nobody has left
        found = []
        for row, e in zip(table, exits):
            left = row[np.searchsorted(self._stages, e[:-1], side="right")]
            left = np.maximum.accumulate(np.clip([0.0, *left, 1.0], 0, 1))
            found.append(np.diff(left))
        return found

    def _left(self, exits: Exits, shares: Sequence[float]) -> list[float]:
        """The share that has left by each of the stages."""
        left = np.concatenate([[0.0], np.cumsum(shares)])
        return [float(left[i]) for i in np.searchsorted(exits, self._stages, side="right")]
