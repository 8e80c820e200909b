"""One-shot evaluation: slice the supernet, estimate batch-norm statistics, score once, tune the policy on the table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from offramp.architecture import Architecture
from offramp.cost import NetworkCost, cost
from offramp.data import SearchData, Split
from offramp.nn import Supernet
from offramp.policy import Goal, ScoreTable, Tuned, tune
from offramp.search.evaluation import Evaluation
from offramp.spaces import Candidate
from offramp.training import reestimate, score


class OneShot:
    """Evaluates candidates as slices of `supernet`; holds the train and select splits only.

    `images` of the select split are scored, and `statistics_images` of the train split give the batch-norm
    statistics: the same ones for every candidate. Thresholds are tuned for `goal` under `mac_rule`.
    """

    def __init__(
        self,
        supernet: Supernet,
        data: SearchData,
        goal: Goal,
        *,
        measures: Sequence[str],
        mac_rule: str = "executed",
        images: int | None = None,
        statistics_images: int = 2000,
    ) -> None:
        self._supernet, self._goal, self._measures, self._rule = supernet, goal, tuple(measures), mac_rule
        # Drawn, not the first ones: a folder's images come class by class.
        self._statistics = data.train.images[_draw(len(data.train), statistics_images)]
        chosen = _draw(len(data.select), images or len(data.select))
        self._select = Split(data.select.images[chosen], data.select.labels[chosen])

    def __call__(self, candidate: Candidate) -> Evaluation:
        """Accuracy and mean MACs at the goal's operating point, the architecture's own costs, and the policy."""
        started = time.perf_counter()
        table = self.table(candidate.architecture)
        costs = cost(candidate.architecture)
        leaving = costs.leaving("macs", self._rule)
        tuned = tune(table, leaving, self._goal, measures=self._measures, restarts=0)
        extra = summary(tuned, table, leaving) | {"seconds": round(time.perf_counter() - started, 3)}
        return Evaluation(metrics(tuned, costs), extra)

    def table(self, architecture: Architecture) -> ScoreTable:
        """The scores of `architecture`'s slice on the select images."""
        net = self._supernet.slice(architecture)
        reestimate(net, self._statistics)
        return score(net, self._select)


def _draw(available: int, count: int) -> Tensor:
    return torch.randperm(available, generator=torch.Generator().manual_seed(0))[:count]


def metrics(tuned: Tuned, costs: NetworkCost) -> dict[str, float]:
    """The metrics that objectives and constraints may name."""
    total, operation = costs.total, tuned.operation
    return {
        "error": 1 - operation.accuracy,
        "accuracy": operation.accuracy,
        "mean_macs": operation.mean_cost,
        "full_macs": float(total.macs),
        "params": float(total.params),
        "weight_bytes": float(total.weight_bytes),
        "activation_bytes": float(total.activation_bytes),
    }


def summary(tuned: Tuned, table: ScoreTable, leaving: Sequence[float]) -> dict[str, Any]:
    """What is kept beside the metrics: the policy, and what each exit does."""
    return {
        "policy": tuned.policy.to_dict(),
        "utilisation": list(tuned.operation.utilisation),
        "exit_accuracy": [float(a) for a in table.exit_accuracy],
        "exit_macs": list(leaving),
    }
