"""Fine-tune evaluation: train each candidate by a schedule, score once, set the policy on the table."""

from __future__ import annotations

import numpy as np

from offramp.architecture import Architecture
from offramp.data import SearchData
from offramp.nn import Supernet
from offramp.policy import ScoreTable, Thresholds
from offramp.search.costs import Costs
from offramp.search.scoring import TableEvaluator
from offramp.training import GateSettings, TrainSettings, score, train_either


class FineTune(TableEvaluator):
    """Trains candidates by `settings`, or by `gates` where those are given and a candidate's exits have gates.

    Each starts from `supernet`'s weights, or from scratch where that is None. In process, the data loaded once; holds
    the train and select splits only. The seed of a training follows from `seed` and the architecture alone: a candidate
    comes out alike whenever it is evaluated (on one machine with as many threads). See `TableEvaluator` for the rest.

    Raises:
        ValueError: `settings.inherit` without a supernet, or a supernet without it.
    """

    def __init__(
        self,
        data: SearchData,
        settings: TrainSettings,
        thresholds: Thresholds,
        *,
        supernet: Supernet | None,
        costs: Costs | None = None,
        metric: str = "mean_macs",
        images: int | None = None,
        seed: int = 0,
        gates: GateSettings | None = None,
    ) -> None:
        if settings.inherit != (supernet is not None):
            given = "none is given" if supernet is None else "one is given"
            raise ValueError(f"inherit is {settings.inherit}, but of supernets {given}")
        super().__init__(data, thresholds, costs=costs, metric=metric, images=images)
        self._data, self._settings, self._supernet, self._seed = data, settings, supernet, seed
        self._gates = gates

    def table(self, architecture: Architecture) -> ScoreTable:
        """The scores of `architecture` on the select images, after its training."""
        seed = training_seed(architecture, self._seed)
        net = train_either(architecture, self._data, self._settings, self._gates, supernet=self._supernet, seed=seed)
        return score(net, self._select)


def training_seed(architecture: Architecture, seed: int) -> int:
    """The seed of a candidate's training, below 2**32."""
    return int(np.random.SeedSequence([seed, int(architecture.key, 16)]).generate_state(1)[0])
