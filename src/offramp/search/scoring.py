"""What every evaluator does once a network has been run: from a score table to an evaluation."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from math import inf
from typing import Any

import torch
from torch import Tensor

from offramp.architecture import Architecture
from offramp.cost import NetworkCost
from offramp.data import SearchData, Split
from offramp.policy import Operation, Policy, ScoreTable, Thresholds, maep, operate, penalised_error
from offramp.search.costs import Costs, Leaving
from offramp.search.evaluation import Evaluation
from offramp.search.known import totals
from offramp.spaces import Candidate

_TABLES = 16  # score tables kept: candidates that differ in their thresholds only come close together


class TableEvaluator(ABC):
    """An evaluator that scores `images` of the select split, the same ones for every candidate (all where None).

    Its policy is set by `thresholds`, on the mean cost `metric` as `costs` counts it (None: MACs that ran).
    """

    def __init__(
        self,
        data: SearchData,
        thresholds: Thresholds,
        *,
        costs: Costs | None = None,
        metric: str = "mean_macs",
        images: int | None = None,
    ) -> None:
        self._thresholds, self._costs, self._metric = thresholds, costs or Costs(), metric
        chosen = draw_images(len(data.select), images or len(data.select))
        self._select = Split(data.select.images[chosen], data.select.labels[chosen])
        self._tables: OrderedDict[Architecture, ScoreTable] = OrderedDict()

    def __call__(self, candidate: Candidate) -> Evaluation:
        """Accuracy and mean costs at the operating point, the architecture's own costs, and the policy.

        Raises:
            ValueError: the candidate's thresholds do not fit its exits, or cannot be made feasible.
            LookupError: a layer is not in the device's table, and ZigZag is not installed.
        """
        started = time.perf_counter()
        table = self._table(candidate.architecture)
        policy, leaving = self._set(candidate, table)
        operation = operate(policy, table, leaving[self._metric])
        means = {name: operate(policy, table, values).mean_cost for name, values in leaving.items()}
        extra = summary(policy, operation, table, leaving) | {"seconds": round(time.perf_counter() - started, 3)}
        measured = metrics(operation, means, self._costs.network(candidate.architecture), self._costs.target)
        return Evaluation(measured, extra)

    @abstractmethod
    def table(self, architecture: Architecture) -> ScoreTable:
        """The scores of `architecture` on the select images, computed anew."""

    def _set(self, candidate: Candidate, table: ScoreTable) -> tuple[Policy, Leaving]:
        """The policy, and what leaving costs; at an exit that is dropped nobody leaves, and nobody pays its branch."""
        architecture, metric = candidate.architecture, self._metric
        whole = self._costs.leaving(architecture)
        exits = self._thresholds.keep(table, self._costs.of_exits(architecture, metric))
        if len(exits) == table.exits:
            return self._thresholds.set(table, whole[metric], candidate.thresholds).policy, whole
        part = {name: dict(zip(exits, self._costs.of_exits(architecture, name)(exits))) for name in whole}
        found = self._thresholds.set(table.keep(exits), tuple(part[metric].values())).policy
        own = dict(zip(exits, found.thresholds))
        policy = Policy(found.measure, tuple(own.get(e, inf) for e in range(table.exits - 1)))
        return policy, {name: tuple(part[name].get(e, c) for e, c in enumerate(whole[name])) for name in whole}

    def _table(self, architecture: Architecture) -> ScoreTable:
        if architecture not in self._tables:
            self._tables[architecture] = self.table(architecture)
            if len(self._tables) > _TABLES:
                self._tables.popitem(last=False)
        self._tables.move_to_end(architecture)
        return self._tables[architecture]


def draw_images(available: int, count: int) -> Tensor:
    """Up to `count` indices below `available`: drawn, not the first ones, as a folder's images come class by class."""
    return torch.randperm(available, generator=torch.Generator().manual_seed(0))[:count]


def metrics(
    operation: Operation, means: Mapping[str, float], costs: NetworkCost, target: float | None = None
) -> dict[str, float]:
    """The metrics that objectives and constraints may name: accuracy, mean costs, the network's own costs.

    With a `target` of mean MACs also those of AEBNAS, which tell how near to it they are.
    """
    error = 1 - operation.accuracy
    found = {"error": error, "accuracy": operation.accuracy, **means, **totals(costs)}
    if target is None:
        return found
    macs = means["mean_macs"]
    return found | {"maep": maep(macs, target), "penalised_error": penalised_error(error, macs, target)}


def summary(policy: Policy, operation: Operation, table: ScoreTable, leaving: Leaving) -> dict[str, Any]:
    """What is kept beside the metrics: the policy, and what each exit does and costs."""
    on_device = {"exit_energy_mj": "mean_energy_mj", "exit_latency_ms": "mean_latency_ms"}
    return {
        "policy": policy.to_dict(),
        "utilisation": list(operation.utilisation),
        "exit_accuracy": [float(a) for a in table.exit_accuracy],
        "exit_macs": list(leaving["mean_macs"]),
        **{name: list(leaving[metric]) for name, metric in on_device.items() if metric in leaving},
    }
