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
from offramp.spaces import SearchSpace
from offramp.training import reestimate, score

_Exit = tuple[Precision, int, Branch | None]
"""At these bits, behind this stage, by this branch."""


class OneShot(TableEvaluator):
    """Evaluates candidates as slices of `supernet`; holds the train and select splits only.

    `statistics_images` of the train split give the batch-norm statistics: the same ones for every candidate. Where the
    space has one backbone, its branches are all scored together, once for each choice of bits. See `TableEvaluator` for
    the rest.
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
        self._together = _one_backbone(supernet.space)
        self._said: dict[_Exit, NDArray[np.float32]] = {}

    def table(self, architecture: Architecture) -> ScoreTable:
        """The scores of `architecture`'s slice on the select images, at its precision."""
        exits = [(architecture.precision, i, architecture.stages[i].exit) for i in architecture.exits]
        if not all(exit in self._said for exit in exits):
            for whole in self._together:
                self._remember(whole.model_copy(update={"precision": architecture.precision}))
        if not all(exit in self._said for exit in exits):
            return self._run(architecture)
        return ScoreTable(np.stack([self._said[exit] for exit in exits], axis=1), self._select.labels.numpy())

    def _remember(self, architecture: Architecture) -> None:
        found = self._run(architecture).logits
        for e, i in enumerate(architecture.exits):
            self._said[architecture.precision, i, architecture.stages[i].exit] = found[:, e]

    def _run(self, architecture: Architecture) -> ScoreTable:
        net = self._supernet.slice(architecture)
        reestimate(net, self._statistics)
        net = quantize(net, self._statistics)
        return score(net, self._select)


def _one_backbone(space: SearchSpace) -> list[Architecture]:
    """Networks that hold all branches of a space whose networks differ in nothing else; none for other spaces.

    What an exit says depends on the stages before it and its own branch. A gate has logits of its own: none either.
    """
    found = space.cover()
    everything = [*found, space.smallest(), space.largest()]
    backbones = {tuple(stage.blocks for stage in architecture.stages) for architecture in everything}
    gated = any(stage.exit is not None and stage.exit.gate for a in everything for stage in a.stages)
    return [] if len(backbones) > 1 or gated else found
