"""One-shot evaluation: slice the supernet, estimate batch-norm statistics, score once, set the policy on the table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from offramp.architecture import Architecture, Branch, Precision
from offramp.data import SearchData
from offramp.nn import Supernet
from offramp.nn.quantize import quantize
from offramp.policy import ScoreTable, Thresholds
from offramp.search.costs import Costs
from offramp.search.scoring import TableEvaluator, draw_images
from offramp.training import reestimate, score

_Exit = tuple[Precision, int, Branch | None]
"""At these bits, behind this stage, by this branch."""


class OneShot(TableEvaluator):
    """Evaluates candidates as slices of `supernet`; holds the train and select splits only.

    `statistics_images` of the train split give the batch-norm statistics: the same ones for every candidate. In a space
    of one backbone all branches are scored together, once for each choice of bits: the first candidate at some bits
    pays for those that follow. What they said is kept, N x K floats for each branch. See `TableEvaluator` for the rest.
    """

    def __init__(
        self,
        supernet: Supernet,
        data: SearchData,
        thresholds: Thresholds,
        *,
        costs: Costs | None = None,
        metric: str = "mean_macs",
        images: int | None = None,
        statistics_images: int = 2000,
    ) -> None:
        super().__init__(data, thresholds, costs=costs, metric=metric, images=images)
        self._supernet = supernet
        self._statistics = data.train.images[draw_images(len(data.train), statistics_images)]
        self._together = supernet.space.cover() if supernet.space.one_backbone else []
        self._said: dict[_Exit, NDArray[np.float32]] = {}

    def table(self, architecture: Architecture) -> ScoreTable:
        """The scores of `architecture`'s slice on the select images, at its precision."""
        if not self._together:
            return self._run(architecture)
        exits = _exits(architecture)
        if not all(exit in self._said for exit in exits):
            for whole in self._together:
                self._remember(whole.model_copy(update={"precision": architecture.precision}))
        return ScoreTable(np.stack([self._said[exit] for exit in exits], axis=1), self._select.labels.numpy())

    def _remember(self, architecture: Architecture) -> None:
        found = self._run(architecture).logits
        self._said |= {exit: found[:, e] for e, exit in enumerate(_exits(architecture))}

    def _run(self, architecture: Architecture) -> ScoreTable:
        net = self._supernet.slice(architecture)
        reestimate(net, self._statistics)
        net = quantize(net, self._statistics)
        return score(net, self._select)


def _exits(architecture: Architecture) -> list[_Exit]:
    return [(architecture.precision, i, architecture.stages[i].exit) for i in architecture.exits]
