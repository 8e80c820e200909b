"""What every evaluator does once a network has been run: from a score table to an evaluation."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from offramp.architecture import Architecture
from offramp.cost import NetworkCost, cost
from offramp.data import SearchData, Split
from offramp.policy import Goal, Operation, Policy, ScoreTable, operate, tune
from offramp.search.evaluation import Evaluation
from offramp.spaces import Candidate

_TABLES = 16  # score tables kept: candidates that differ in their thresholds only come close together


class TableEvaluator(ABC):
    """An evaluator that scores `images` of the select split, the same ones for every candidate (all where None).

    Thresholds are tuned for `goal` under `mac_rule`, with the best of `measures`. With `tune` False a candidate that
    has thresholds of its own keeps them, under the first of `measures`.
    """

    def __init__(
        self,
        data: SearchData,
        goal: Goal,
        *,
        measures: Sequence[str],
        mac_rule: str = "executed",
        images: int | None = None,
        tune: bool = True,
    ) -> None:
        self._goal, self._measures, self._rule, self._tune = goal, tuple(measures), mac_rule, tune
        chosen = draw_images(len(data.select), images or len(data.select))
        self._select = Split(data.select.images[chosen], data.select.labels[chosen])
        self._tables: OrderedDict[Architecture, ScoreTable] = OrderedDict()

    def __call__(self, candidate: Candidate) -> Evaluation:
        """Accuracy and mean MACs at the operating point, the architecture's own costs, and the policy.

        Raises:
            ValueError: the candidate's thresholds do not fit its exits.
        """
        started = time.perf_counter()
        table = self._table(candidate.architecture)
        costs = cost(candidate.architecture)
        leaving = costs.leaving("macs", self._rule)
        policy, operation = self._operation(candidate, table, leaving)
        extra = summary(policy, operation, table, leaving) | {"seconds": round(time.perf_counter() - started, 3)}
        return Evaluation(metrics(operation, costs), extra)

    @abstractmethod
    def table(self, architecture: Architecture) -> ScoreTable:
        """The scores of `architecture` on the select images, computed anew."""

    def _table(self, architecture: Architecture) -> ScoreTable:
        if architecture not in self._tables:
            self._tables[architecture] = self.table(architecture)
            if len(self._tables) > _TABLES:
                self._tables.popitem(last=False)
        self._tables.move_to_end(architecture)
        return self._tables[architecture]

    def _operation(self, candidate: Candidate, table: ScoreTable, leaving: Sequence[float]) -> tuple[Policy, Operation]:
        if candidate.thresholds is not None and not self._tune:
            own = Policy(self._measures[0], candidate.thresholds)
            return own, operate(own, table, leaving)
        tuned = tune(table, leaving, self._goal, measures=self._measures, restarts=0)
        return tuned.policy, tuned.operation


def draw_images(available: int, count: int) -> Tensor:
    """Up to `count` indices below `available`: drawn, not the first ones, as a folder's images come class by class."""
    return torch.randperm(available, generator=torch.Generator().manual_seed(0))[:count]


def metrics(operation: Operation, costs: NetworkCost) -> dict[str, float]:
    """The metrics that objectives and constraints may name; MACs in multiply-accumulates, sizes in bytes."""
    total = costs.total
    return {
        "error": 1 - operation.accuracy,
        "accuracy": operation.accuracy,
        "mean_macs": operation.mean_cost,
        "full_macs": float(total.macs),
        "params": float(total.params),
        "weight_bytes": float(total.weight_bytes),
        "activation_bytes": float(total.activation_bytes),
    }


def summary(policy: Policy, operation: Operation, table: ScoreTable, leaving: Sequence[float]) -> dict[str, Any]:
    """What is kept beside the metrics: the policy, and what each exit does."""
    return {
        "policy": policy.to_dict(),
        "utilisation": list(operation.utilisation),
        "exit_accuracy": [float(a) for a in table.exit_accuracy],
        "exit_macs": list(leaving),
    }
