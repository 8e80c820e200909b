"""Thresholds of a delivered network for another goal than it was delivered for."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

from offramp.policy import CONFIDENCE, LOSSES, Goal, Policy, ScoreTable, guaranteed, operate, promised, tune
from offramp.run_folder import damaged, delivered_file, read_json

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


def promise(folder: Path, confidence: float = CONFIDENCE) -> dict[str, Any]:
    """What the delivered thresholds of the network in `folder` promise; see `offramp.policy.promised`.

    Raises:
        ValueError: a confidence outside 0..1.
        FileNotFoundError: the folder lacks one of the files; those of earlier versions have no calibrate_scores.npz.
    """
    policy = Policy.from_json(delivered_file(folder, "policy.json").read_text(encoding="utf-8"))
    return promised(policy, ScoreTable.load(delivered_file(folder, "calibrate_scores.npz")), confidence)


def guaranteed_point(
    folder: Path, *, lost: float | None = None, accuracy: float | None = None, confidence: float = CONFIDENCE
) -> dict[str, Any]:
    """Thresholds of the network in `folder` that hold, with this confidence, on images drawn as those of calibrate.

    The cheapest of those in `device_curve.json`, or else `curve.json`, found by `offramp.policy.guaranteed`. `lost`: at
    most this share of images is answered wrongly where the last exit would be right; or a least `accuracy`.
    `thresholds` is None where no such promise can be made; `calibrate`, `select`, `test` tell what they come to there.

    Raises:
        ValueError: not one of both is given, or outside 0..1; or the network has one exit.
        FileNotFoundError: the folder lacks one of the files; those of earlier versions have no calibrate_scores.npz.
    """
    if (lost is None) == (accuracy is None):
        raise ValueError("give either the share that may be lost, or the least accuracy")
    metrics = read_json(delivered_file(folder, "metrics.json"), ("exits", "measure", "mac_rule"))
    metric, points = _points(folder)
    costs = _costs(folder, metrics, metric)
    if len(costs) == 1:
        raise ValueError(f"{folder} holds a network of one exit, which has no thresholds")
    names = ("calibrate", "select", "test")
    tables = {name: ScoreTable.load(delivered_file(folder, f"{name}_scores.npz")) for name in names}
    never = Policy(metrics["measure"], (inf,) * (len(costs) - 1))
    loss, most = ("lost", lost) if lost is not None else ("error", 1 - (accuracy or 0.0))
    found = guaranteed(
        [*map(Policy.from_dict, points), never], tables["select"], tables["calibrate"], costs,
        loss=loss, most=most, confidence=confidence,
    )  # fmt: skip
    shared = {"loss": loss, "most": most, "confidence": confidence, "metric": metric, "mac_rule": metrics["mac_rule"]}
    if found is None:
        return {"measure": metrics["measure"], "thresholds": None, **shared}
    told = {name: _outcome(found, table, costs, metric) for name, table in tables.items()}
    for name, table in tables.items():
        told[name][loss] = float(LOSSES[loss](found, table).mean())
    return found.to_dict() | shared | told


def _points(folder: Path) -> tuple[str, list[dict[str, Any]]]:
    """The metric that a delivered network's curve was tuned for, and the curve."""
    path = folder / "device_curve.json"
    if path.exists():
        stored = read_json(path, ("metric", "points"))
        return str(stored["metric"]), list(stored["points"])
    return "mean_macs", list(read_json(delivered_file(folder, "curve.json")))


def _costs(folder: Path, metrics: dict[str, Any], metric: str) -> list[float]:
    if metric == "mean_macs":
        try:
            return [float(exit["macs"]) for exit in metrics["exits"]]
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(folder / "metrics.json", f"exits is {metrics['exits']!r:.100}") from error
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
