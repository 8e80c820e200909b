"""From a chosen architecture to a network that can be used: train, tune, test once, export."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.torch import save_file

from offramp.architecture import Architecture
from offramp.cost import MAC_RULES, NetworkCost, cost
from offramp.data import Split, Task
from offramp.nn import EarlyExitNet, Supernet
from offramp.nn.quantize import is_quantized, rounds, skeleton
from offramp.policy import (
    GATE_MEASURES,
    MEASURES,
    Curve,
    Goal,
    GridThresholds,
    Operation,
    OwnThresholds,
    Point,
    Policy,
    RepairedThresholds,
    ScoreTable,
    Setting,
    Thresholds,
    TunedThresholds,
    curve,
    exit_calibration,
    operate,
    policy_calibration,
    subset_curve,
)
from offramp.progress import track
from offramp.recipe import Recipe
from offramp.run_folder import identity, load_weights, write_json, write_text
from offramp.search.costs import Costs, Leaving
from offramp.spaces import Candidate
from offramp.training import score, train_either
from offramp.training.settings import OptimiserSettings

_SUBSET_CLIMBS = 20  # a subset's curve gives a few points of all subsets' front; the whole network's has curve.json


def deliver(
    candidate: Candidate,
    folder: Path,
    recipe: Recipe,
    task: Task,
    *,
    supernet: Supernet | None,
    seed: int,
    export: bool,
    budget: tuple[str, float] | None = None,
) -> dict[str, Any]:
    """Fill `folder` with a trained, tuned, tested (and exported) network; gives its metrics.

    Thresholds are set on the select split, in the recipe's way, for `budget` where given, else for its goal; a
    candidate's own stay with the exits that remain. An exit at which nobody leaves is dropped, with its cost, before
    the test; the test split is read once. Continues from the folder's checkpoint after a kill.

    `curve.json` holds thresholds tuned for mean MACs; where the recipe's goal is about another mean cost,
    `device_curve.json` holds those tuned for it. What both scores and means come to can be worked out again from
    `select_scores.npz` and `test_scores.npz`.
    """
    started = time.monotonic()
    trained = _trained(candidate.architecture, folder, recipe, task, supernet, seed)
    counted = costs_of(recipe)
    net, found, select = _set(trained, candidate.thresholds, recipe, budget, task.select, counted)
    policy = found.policy
    costs = cost(net.architecture)
    leaving = costs.leaving("macs", recipe.policy.mac_rule)
    test = score(net, task.test)
    write_text(folder / "architecture.json", net.architecture.to_json(indent=1) + "\n")
    write_text(folder / "policy.json", policy.to_json() + "\n")
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, folder / "weights.safetensors")
    select.save(folder / "select_scores.npz")
    test.save(folder / "test_scores.npz")
    by_subset = subset_records(net.architecture, policy.measure, recipe.policy.mac_rule, select, test)
    write_json(folder / "subsets.json", by_subset)
    metrics = describe(policy, select, test, costs, recipe.policy.mac_rule, task)
    metrics |= on_device(policy, test, net.architecture, candidate.architecture, counted)
    kept, chosen = net.architecture.exits, candidate.architecture.exits
    metrics |= {
        "thresholds": recipe.policy.thresholds,
        "feasible": found.feasible,
        "dropped_exits": [position for position in chosen if position not in kept],
    }
    metrics |= {"seed": seed, "train_seconds": round(time.monotonic() - started, 1), "kind": kind(net.architecture)}
    means = counted.leaving(net.architecture)
    if export:
        metrics["onnx"] = _exported(net, policy, folder / "model.onnx", recipe, task)
        if counted.npu:
            metrics |= on_npu(net, trained, policy, test, folder / "tflite", metrics["device"], task)
            means = {**means, "mean_latency_ms": tuple(metrics["exit_latency_ms"])}
    metrics["select"] |= means_of(policy, select, means)
    write_json(folder / "curve.json", curve_records(curve(select, leaving, measures=policy.measure), test, means))
    if (metric := recipe.policy.metric) != "mean_macs":
        points = curve(select, means[metric], measures=policy.measure)
        write_json(folder / "device_curve.json", {"metric": metric, "points": curve_records(points, test, means)})
    write_json(folder / "metrics.json", metrics)
    for checkpoint in ("checkpoint", "checkpoint.quantized"):
        (folder / checkpoint).unlink(missing_ok=True)
    return metrics


def load(folder: str | Path) -> tuple[EarlyExitNet, Policy]:
    """The network and policy in a delivered folder.

    Raises:
        FileNotFoundError: the folder lacks one of the files.
        ValueError: one of them is damaged; it names the file.
    """
    folder = Path(folder)
    advice = f"move {folder} away and run again, and the network is trained anew"
    try:
        net, policy = skeleton(Architecture.load(folder / "architecture.json")), _policy(folder / "policy.json")
    except ValueError as error:
        raise ValueError(f"{error}; {advice}") from error
    load_weights(folder / "weights.safetensors", net, advice)
    return net.eval(), policy


def _policy(path: Path) -> Policy:
    try:
        return Policy.from_json(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no policy: {error}") from error


def costs_of(recipe: Recipe) -> Costs:
    """How the recipe counts what candidates cost."""
    policy, hardware = recipe.policy, recipe.hardware
    if hardware is None:
        return Costs(policy.mac_rule, target=policy.mean_macs)
    return Costs(policy.mac_rule, hardware.device, policy.mean_macs, hardware.mapping)


def goal_of(recipe: Recipe, budget: tuple[str, float] | None = None) -> Goal:
    """The goal that thresholds are tuned for; `budget`, a mean cost and its bound, is a delivered network's own."""
    budget = budget or recipe.policy.budget
    if budget is not None:
        return Goal.accuracy_at_cost(budget[1])
    assert recipe.policy.accuracy is not None
    return Goal.cost_at_accuracy(recipe.policy.accuracy)


def thresholds_of(
    recipe: Recipe,
    measures: Sequence[str],
    budget: tuple[str, float] | None = None,
    *,
    restarts: int = 4,
    must_hold: bool = False,
) -> Thresholds:
    """How the recipe sets thresholds, under `measures`; `budget` as in `goal_of`, `restarts` those of the tuner.

    Where they cannot be repaired to what goal and constraints ask for, `must_hold` makes that an error.
    """
    goal, names = goal_of(recipe, budget), tuple(measures)
    if recipe.policy.thresholds == "grid":
        wanted = budget or recipe.policy.budget
        assert wanted is not None
        return GridThresholds(wanted[1])
    if recipe.policy.thresholds == "repair":
        most, least = recipe.bounds
        return RepairedThresholds(names[0], budget[1] if budget else most, least, must_hold)
    way = OwnThresholds if recipe.policy.thresholds == "genes" else TunedThresholds
    return way(goal, names, restarts)


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
    backbone of `searched`, the network before unused exits were dropped, to its final exit after stage `static_exit`:
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


def on_npu(
    net: EarlyExitNet, trained: EarlyExitNet, policy: Policy, test: ScoreTable, folder: Path, device: str, task: Task
) -> dict[str, Any]:
    """Latencies in ms and memory in bytes with the weights of `net`, whose stages are written to `folder` as TFLite.

    `static_latency_ms` is of the backbone alone, to the final exit of `trained`, with the same weights.
    """
    costs = _compiled(net, policy, folder, device, task)
    with TemporaryDirectory() as other:
        alone = keep_exits(trained, [len(trained.architecture.exits) - 1])
        static = _compiled(alone, Policy(policy.measure, ()), Path(other), device, task)
    latency = costs.leaving("latency_ms")
    return {
        "latency_ms": operate(policy, test, latency).mean_cost,
        "static_latency_ms": static.total.latency_ms,
        "exit_latency_ms": list(latency),
        "stage_latency_ms": [stage.latency_ms for stage in costs.stages],
        "branch_latency_ms": [branch.latency_ms if branch else None for branch in costs.branches],
        "stage_weight_bytes": [(s + b if b else s).weight_bytes for s, b in zip(costs.stages, costs.branches)],
        "stage_activation_bytes": [stage.activation_bytes for stage in costs.stages],
        "npu_weight_bytes": costs.total.weight_bytes,
        "npu_activation_bytes": costs.total.activation_bytes,
    }


def _compiled(net: EarlyExitNet, policy: Policy, folder: Path, device: str, task: Task) -> NetworkCost:
    from offramp.export import export_tflite

    made = export_tflite(net, policy, folder, classes=task.classes, images=task.train.images)
    files = [(folder / stage["file"]).read_bytes() for stage in json.loads(made.read_text())["stages"]]
    return cost(net.architecture, device, files)


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


def _trained(
    architecture: Architecture, folder: Path, recipe: Recipe, task: Task, supernet: Supernet | None, seed: int
) -> EarlyExitNet:
    settings = recipe.train
    # The final network sees no more than the search did: its training cannot reach calibrate or test.
    data = task.without_test()
    phases: list[tuple[int, OptimiserSettings]] = [(settings.epochs, settings)]
    made_of = identity(architecture.to_json(), settings.model_dump(), seed, task.fingerprint(), supernet is not None)
    if recipe.gates is not None and architecture.gated:
        phases = [(recipe.gates.epochs, recipe.gates)]
        made_of = identity(made_of, recipe.gates.model_dump())
    if is_quantized(architecture.precision):
        phases.append((settings.quantized_epochs, settings))
    total = sum(epochs * (len(task.train) // s.batch * s.batch) for epochs, s in phases)
    with track(f"training {folder.name}", total, unit="images") as bar:
        return train_either(
            architecture, data, settings, recipe.gates,
            supernet=supernet, seed=seed, identity=made_of, checkpoint=folder / "checkpoint", track=bar,
        )  # fmt: skip


def _set(
    net: EarlyExitNet,
    own: tuple[float, ...] | None,
    recipe: Recipe,
    budget: tuple[str, float] | None,
    select: Split,
    costs: Costs,
) -> tuple[EarlyExitNet, Setting, ScoreTable]:
    """Set thresholds on `select`; while nobody leaves at some exit, drop it (and what lies behind the last), set again.

    Exits that the recipe's way of setting thresholds does not keep go first.

    `own`: the thresholds that came with the network.
    """
    table = score(net, select)
    metric = budget[0] if budget else recipe.policy.metric
    while True:
        way = thresholds_of(recipe, _measures(recipe, net.architecture), budget)
        used: Sequence[int] = way.keep(table, costs.of_exits(net.architecture, metric))
        if len(used) == table.exits:
            found = way.set(table, costs.leaving(net.architecture)[metric], own)
            used = [e for e, share in enumerate(found.operation.utilisation) if share > 0]
        if len(used) == table.exits:
            return net, found, table
        net, table = keep_exits(net, used), table.keep(used)
        own = None if own is None else tuple(own[e] for e in used[:-1])


def _measures(recipe: Recipe, architecture: Architecture) -> tuple[str, ...]:
    """The recipe's measures that this network has: a static one beside gated ones has no gates to read."""
    found = tuple(m for m in recipe.policy.measures if architecture.gated or m not in GATE_MEASURES)
    return found or MEASURES[:1]


def keep_exits(net: EarlyExitNet, exits: Sequence[int]) -> EarlyExitNet:
    """`net` with only the exits of these numbers; weights are kept, but a new final exit loses its gate."""
    positions = tuple(net.architecture.exits[e] for e in exits)
    make = skeleton if rounds(net) else EarlyExitNet
    smaller = make(net.architecture.with_exits(positions)).to(net.mean.device)
    wanted = smaller.state_dict()
    # The gate is the classifier's last row.
    kept = {
        name: tensor[: len(wanted[name])] if tensor.ndim else tensor
        for name, tensor in net.state_dict().items()
        if name in wanted
    }
    smaller.load_state_dict(kept)
    return smaller.eval()


def _exported(net: EarlyExitNet, policy: Policy, path: Path, recipe: Recipe, task: Task) -> dict[str, Any]:
    from offramp.export import export_onnx

    images = task.test.images[: recipe.export.check_images]
    check = export_onnx(net, policy, path, classes=task.classes, images=images, tolerance=recipe.export.tolerance)
    return asdict(check)
