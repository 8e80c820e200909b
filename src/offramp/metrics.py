"""What `metrics.json` and the curves beside it tell of a delivered network, from score tables and costs."""

from __future__ import annotations

from typing import Any

from offramp.architecture import Architecture
from offramp.cost import MAC_RULES, NetworkCost
from offramp.data import Task
from offramp.policy import (
    Curve,
    Operation,
    Point,
    Policy,
    ScoreTable,
    exit_calibration,
    operate,
    policy_calibration,
    subset_curve,
)
from offramp.search.costs import Costs, Leaving

_SUBSET_CLIMBS = 20  # a subset's curve gives a few points of all subsets' front; the whole network's has curve.json


def kind(architecture: Architecture) -> str:
    """`static` for a network with one exit."""
    return "early-exit" if len(architecture.exits) > 1 else "static"


def describe(
    policy: Policy, select: ScoreTable, test: ScoreTable, costs: NetworkCost, mac_rule: str, task: Task
) -> dict[str, Any]:
    """`metrics.json`, as far as score tables and costs tell it.

    `calibration_error` is that of `exit_calibration` and, of the whole, of `policy_calibration`, on test.
    """
    leaving = costs.leaving("macs", mac_rule)
    by_rule = {rule: costs.leaving("macs", rule) for rule in MAC_RULES}
    calibration = exit_calibration(test, policy.measure)
    tested, selected = operate(policy, test, leaving), operate(policy, select, leaving)
    total = costs.total
    exits = [
        {
            "position": record.position,
            "macs": leaving[e],
            "macs_by_rule": {rule: values[e] for rule, values in by_rule.items()},
            "branch_macs": record.branch.macs,
            "accuracy": float(test.exit_accuracy[e]),
            "accuracy_of_leavers": tested.exit_accuracy[e],
            "threshold": policy.to_dict()["thresholds"][e] if e < len(policy.thresholds) else None,
            "share": tested.utilisation[e],
            "calibration_error": calibration[e],
        }
        for e, record in enumerate(costs.exits)
    ]
    return {
        "test_accuracy": tested.accuracy,
        "static_accuracy": float(test.exit_accuracy[-1]),
        "mean_macs": tested.mean_cost,
        "mac_rule": mac_rule,
        "mean_macs_by_rule": {rule: costs.mean(tested.utilisation, rule=rule) for rule in MAC_RULES},
        "calibration_error": policy_calibration(policy, test),
        "static_macs": sum(stage.macs for stage in costs.stages) + costs.exits[-1].branch.macs,
        "utilisation": list(tested.utilisation),
        "exits": exits,
        "select": {"accuracy": selected.accuracy, "mean_macs": selected.mean_cost},
        "measure": policy.measure,
        "full_macs": total.macs,
        "params": total.params,
        "weight_bytes": total.weight_bytes,
        "activation_bytes": total.activation_bytes,
        "splits": {name: len(split) for name, split in task.splits.items()},
        "notes": list(task.notes),
        "classes": list(task.classes),
    }


def on_device(
    policy: Policy, test: ScoreTable, architecture: Architecture, searched: Architecture, costs: Costs
) -> dict[str, Any]:
    """What `metrics.json` tells of the device, nothing where there is none: means in mJ, ms and J x cycles.

    `exit_energy_mj`, `exit_latency_ms` and `exit_et` are of a sample that leaves at each exit. `et_of_means` is mean
    energy x mean latency, `et_avg` the mean of energy x latency. There are two static references. Both run the whole
    backbone of `searched`, the network before exits were dropped, to its final exit after stage `static_exit`:
    `static_` is the backbone alone, without early exits; `full_` is full depth with every branch of `architecture`.
    """
    if costs.device is None:
        return {}
    leaving, final = costs.leaving(architecture), searched.exits[-1]
    means = means_of(policy, test, leaving)
    static = costs.leaving(searched.with_exits((final,)))
    found = {
        "device": costs.device,
        "mapping": costs.mapping,
        "latency_ms": means["mean_latency_ms"],
        "static_exit": final,
        "static_latency_ms": static["mean_latency_ms"][-1],
        "exit_latency_ms": list(leaving["mean_latency_ms"]),
    }
    if "mean_energy_mj" not in leaving:  # an NPU
        return found
    full = costs.leaving(searched.with_exits(tuple(sorted({*architecture.exits, final}))))
    return found | {
        "energy_mj": means["mean_energy_mj"],
        "static_energy_mj": static["mean_energy_mj"][-1],
        "exit_energy_mj": list(leaving["mean_energy_mj"]),
        "et_avg": means["et_avg"],
        "et_of_means": means["mean_energy_mj"] * means["mean_latency_ms"] * costs.clock_mhz,
        "exit_et": list(leaving["et_avg"]),
        "static_et": static["et_avg"][-1],
        "full_energy_mj": full["mean_energy_mj"][-1],
        "full_latency_ms": full["mean_latency_ms"][-1],
        "full_et": full["et_avg"][-1],
        "dynamic_efficiency": means["dynamic_efficiency"],
        "exit_overhead_mj": means["exit_overhead_mj"],
    }


def means_of(policy: Policy, table: ScoreTable, leaving: Leaving) -> dict[str, float]:
    """The mean of each metric of `leaving` over the samples of a table."""
    return {name: operate(policy, table, values).mean_cost for name, values in leaving.items()}


def curve_records(found: Curve, test: ScoreTable, leaving: Leaving) -> list[dict[str, Any]]:
    """Operating points tuned on select, each with what it comes to on test."""
    return [curve_record(point, test, leaving) for point in found]


def curve_record(point: Point, test: ScoreTable, leaving: Leaving) -> dict[str, Any]:
    """A point tuned on select, and what it comes to on test, by every metric of `leaving`."""
    tested = operate(point.policy, test, leaving["mean_macs"])
    return point.policy.to_dict() | {
        "select": _outcome(point.operation, leaving),
        "test": _outcome(tested, leaving),
        "utilisation": list(tested.utilisation),
    }


def _outcome(operation: Operation, leaving: Leaving) -> dict[str, float]:
    """The accuracy, and each mean by the shares that left: `means_of` would decide anew for every metric."""
    shares = operation.utilisation
    means = {name: sum(s * v for s, v in zip(shares, values, strict=True)) for name, values in leaving.items()}
    return {"accuracy": operation.accuracy, **means}


def subset_records(
    architecture: Architecture, measure: str, mac_rule: str, select: ScoreTable, test: ScoreTable
) -> list[dict[str, Any]]:
    """As `curve_records`, over every subset of the exits: `exits` are those kept, by their number in the network."""
    leaving = Costs(mac_rule).of_exits(architecture, "mean_macs")
    found = subset_curve(select, leaving, measures=measure, climbs=_SUBSET_CLIMBS)
    return [
        {"exits": list(exits), **curve_record(point, test.keep(exits), {"mean_macs": leaving(exits)})}
        for exits, point in ((choice.exits, choice.point) for choice in found)
    ]
