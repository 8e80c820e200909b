"""Thresholds of a delivered network for another goal than it was delivered for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from offramp.policy import Goal, Policy, ScoreTable, operate, tune
from offramp.run_folder import delivered_file, read_json

_BY_EXIT = {"mean_energy_mj": "exit_energy_mj", "mean_latency_ms": "exit_latency_ms", "et_avg": "exit_et"}
"""A mean cost -> what leaving at each exit costs, in metrics.json."""


def operating_point(
    folder: Path, metric: str, most: float | None = None, accuracy: float | None = None
) -> dict[str, Any]:
    """The best thresholds of the network in `folder`: of most accuracy where `metric` is at most `most`, else of least
    `metric` at an `accuracy` in 0..1.

    Tuned on what the network said of the select split, under the measure that its files have; `select` and `test` tell
    accuracy, `metric` and utilisation there, `feasible` whether the goal is met on select. Nothing is written.

    Raises:
        ValueError: the network has one exit, or its run knows no such metric.
        FileNotFoundError: the folder lacks one of the files.
    """
    metrics = read_json(delivered_file(folder, "metrics.json"), ("exits", "measure", "mac_rule"))
    costs = _costs(folder, metrics, metric)
    if len(costs) == 1:
        raise ValueError(f"{folder} holds a network of one exit, which has no thresholds")
    select, test = (ScoreTable.load(delivered_file(folder, f"{split}_scores.npz")) for split in ("select", "test"))
    goal = Goal.cost_at_accuracy(accuracy) if accuracy is not None else Goal.accuracy_at_cost(float(most or 0.0))
    found = tune(select, costs, goal, measures=metrics["measure"])
    return found.policy.to_dict() | {
        "feasible": found.feasible,
        "metric": metric,
        "mac_rule": metrics["mac_rule"],
        "select": _outcome(found.policy, select, costs, metric),
        "test": _outcome(found.policy, test, costs, metric),
    }


def _costs(folder: Path, metrics: dict[str, Any], metric: str) -> list[float]:
    if metric == "mean_macs":
        return [exit["macs"] for exit in metrics["exits"]]
    if _BY_EXIT[metric] not in metrics:
        raise ValueError(f"{folder} was delivered without {metric}: its run had no [hardware] that tells it")
    return list(metrics[_BY_EXIT[metric]])


def _outcome(policy: Policy, table: ScoreTable, costs: list[float], metric: str) -> dict[str, Any]:
    found = operate(policy, table, costs)
    return {
        "n": table.samples,
        "accuracy": found.accuracy,
        metric: found.mean_cost,
        "utilisation": list(found.utilisation),
    }
