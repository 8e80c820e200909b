"""One-shot evaluation: slice the supernet, estimate batch-norm statistics, score once, set the policy on the table."""

from __future__ import annotations

from offramp.architecture import Architecture
from offramp.data import SearchData
from offramp.nn import Supernet
from offramp.nn.quantize import quantize
from offramp.policy import ScoreTable, Thresholds
from offramp.search.costs import Costs
from offramp.search.scoring import TableEvaluator, draw_images
from offramp.training import reestimate, score


class OneShot(TableEvaluator):
    """Evaluates candidates as slices of `supernet`; holds the train and select splits only.

    `statistics_images` of the train split give the batch-norm statistics: the same ones for every candidate. See
    `TableEvaluator` for the rest.
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

    def table(self, architecture: Architecture) -> ScoreTable:
        """The scores of `architecture`'s slice on the select images, at its precision."""
        net = self._supernet.slice(architecture)
        reestimate(net, self._statistics)
        net = quantize(net, self._statistics)
        return score(net, self._select)
