"""From a chosen architecture to a network that can be used: train, tune, test once, export."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from offramp.architecture import Architecture, Precision
from offramp.cost import NetworkCost, cost
from offramp.data import Split, Task
from offramp.metrics import curve_records, describe, kind, means_of, on_device, subset_records
from offramp.nn import EarlyExitNet, Supernet
from offramp.nn.quantize import is_quantized, rounds, skeleton
from offramp.policy import (
    GATE_MEASURES,
    MEASURES,
    Goal,
    GridThresholds,
    OwnThresholds,
    Policy,
    RepairedThresholds,
    ScoreTable,
    Setting,
    Thresholds,
    TunedThresholds,
    curve,
    operate,
    promised,
)
from offramp.progress import track
from offramp.recipe import Recipe
from offramp.run_folder import TRAINING, anew, identity, load_weights, save_weights, write_json, write_text
from offramp.search.costs import Costs
from offramp.spaces import Candidate
from offramp.training import score, train_either
from offramp.training.settings import GateSettings, OptimiserSettings, TrainSettings


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
    shared: Path | None = None,
) -> dict[str, Any]:
    """Fill `folder` with a trained, tuned, tested (and exported) network; gives its metrics.

    Thresholds are set on the select split, in the recipe's way, for `budget` where given, else for its goal; exits
    without which the tuner comes further are dropped, unless the recipe keeps them. A candidate's own thresholds stay
    with the exits that remain. An exit at which nobody leaves is dropped, too, with its cost, before the test; the test
    split is read once.

    `shared`: the folder where checkpoints are kept, by which a training goes on after a kill, and that in float is not
    repeated for a network which differs in bits alone. They are the caller's to remove; by default they lie in `folder`
    and are removed at the end.

    `metrics.json` says under `guarantee` what holds on images that nothing was set on: see `offramp.policy.promised`.

    `curve.json` holds thresholds tuned for mean MACs; where the recipe's goal is about another mean cost,
    `device_curve.json` holds those tuned for it. What both scores and means come to can be worked out again from
    `select_scores.npz` and `test_scores.npz`. `train_seconds` are of the process that ended the training.
    """
    started = time.monotonic()
    trained = _trained(candidate.architecture, folder, recipe, task, supernet, seed, shared or folder)
    seconds = round(time.monotonic() - started, 1)
    metrics = finish(
        trained, candidate, folder, recipe, task, budget=budget, export=export, seed=seed, train_seconds=seconds
    )
    for checkpoint in folder.glob(f"*{TRAINING}*"):
        checkpoint.unlink()
    return metrics


def finish(
    trained: EarlyExitNet,
    candidate: Candidate,
    folder: Path,
    recipe: Recipe,
    task: Task,
    *,
    budget: tuple[str, float] | None,
    export: bool,
    **about: Any,
) -> dict[str, Any]:
    """What `deliver` does with a trained network; `about`, such as `seed`, stands in its metrics, too."""
    counted = costs_of(recipe)
    net, found, select = _set(trained, candidate.thresholds, recipe, budget, task.select, counted)
    policy = found.policy
    costs = cost(net.architecture)
    leaving = costs.leaving("macs", recipe.policy.mac_rule)
    calibrate, test = score(net, task.calibrate), score(net, task.test)
    write_text(folder / "architecture.json", net.architecture.to_json(indent=1) + "\n")
    write_text(folder / "policy.json", policy.to_json() + "\n")
    save_weights(folder / "weights.safetensors", net)
    select.save(folder / "select_scores.npz")
    test.save(folder / "test_scores.npz")
    calibrate.save(folder / "calibrate_scores.npz")
    by_subset = subset_records(net.architecture, policy.measure, recipe.policy.mac_rule, select, test)
    write_json(folder / "subsets.json", by_subset)
    metrics = describe(policy, select, test, costs, recipe.policy.mac_rule, task)
    metrics |= on_device(policy, test, net.architecture, candidate.architecture, counted)
    kept, chosen = net.architecture.exits, candidate.architecture.exits
    metrics |= {
        "thresholds": recipe.policy.thresholds,
        "budget": budget or recipe.policy.budget,
        "feasible": found.feasible,
        "drop_exits": recipe.deliver.drop_exits,
        "dropped_exits": [position for position in chosen if position not in kept],
    }
    metrics["guarantee"] = promised(policy, calibrate)
    metrics |= about | {"kind": kind(net.architecture)}
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
    return metrics


def load(folder: str | Path) -> tuple[EarlyExitNet, Policy]:
    """The network and policy in a delivered folder.

    Raises:
        FileNotFoundError: the folder lacks one of the files.
        ValueError: one of them is damaged; it names the file.
    """
    folder = Path(folder)
    advice = anew(folder)
    try:
        net, policy = skeleton(Architecture.load(folder / "architecture.json")), _policy(folder / "policy.json")
    except ValueError as error:
        raise ValueError(f"{error}; {advice}") from error
    load_weights(folder / "weights.safetensors", net, advice)
    return net.eval(), policy


def _policy(path: Path) -> Policy:
    try:
        return Policy.from_json(path.read_text(encoding="utf-8"))
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
    drop: bool = False,
) -> Thresholds:
    """How the recipe sets thresholds, under `measures`; `budget` as in `goal_of`, `restarts` and `drop` the tuner's.

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
    if recipe.policy.thresholds == "genes":
        return OwnThresholds(goal, names, restarts)
    return TunedThresholds(goal, names, restarts, drop)


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
    files = [(folder / stage["file"]).read_bytes() for stage in json.loads(made.read_text(encoding="utf-8"))["stages"]]
    return cost(net.architecture, device, files)


def _trained(
    architecture: Architecture,
    folder: Path,
    recipe: Recipe,
    task: Task,
    supernet: Supernet | None,
    seed: int,
    shared: Path,
) -> EarlyExitNet:
    settings = recipe.train
    # The final network sees no more than the search did: its training cannot reach calibrate or test.
    data = task.without_test()
    in_float = architecture.model_copy(update={"precision": Precision()})
    made_of = identity(in_float.to_json(), settings.in_float(), seed, task.fingerprint(), supernet is not None)
    if recipe.gates is not None and architecture.gated:
        made_of = identity(made_of, recipe.gates.model_dump())
    total = trained_images(architecture, settings, recipe.gates, len(task.train))
    with track(f"training {folder.name}", total, unit="images") as bar:
        return train_either(
            architecture, data, settings, recipe.gates,
            supernet=supernet, seed=seed, identity=made_of, checkpoint=shared / f"{made_of}{TRAINING}", track=bar,
        )  # fmt: skip


def trained_images(architecture: Architecture, settings: TrainSettings, gates: GateSettings | None, count: int) -> int:
    """How many images a training of `architecture` on `count` takes, over all epochs of all phases."""
    first: OptimiserSettings = settings
    phases = [(settings.epochs, first)]
    if gates is not None and architecture.gated:
        phases = [(gates.epochs, gates)]
    if is_quantized(architecture.precision):
        phases.append((settings.quantized_epochs, settings))
    return sum(epochs * (count // s.batch * s.batch) for epochs, s in phases)


def _set(
    net: EarlyExitNet,
    own: tuple[float, ...] | None,
    recipe: Recipe,
    budget: tuple[str, float] | None,
    select: Split,
    costs: Costs,
) -> tuple[EarlyExitNet, Setting, ScoreTable]:
    """Set thresholds on `select`; while nobody leaves at some exit, drop it (and what lies behind the last), set again.

    Exits that the recipe's way of setting thresholds does not keep go first. With `deliver.drop_exits = false` those at
    which nobody leaves stay.

    `own`: the thresholds that came with the network.
    """
    table = score(net, select)
    metric = budget[0] if budget else recipe.policy.metric
    while True:
        way = thresholds_of(recipe, _measures(recipe, net.architecture), budget, drop=recipe.deliver.drop_exits)
        used: Sequence[int] = way.keep(table, costs.of_exits(net.architecture, metric))
        if len(used) == table.exits:
            found = way.set(table, costs.leaving(net.architecture)[metric], own)
            left = found.operation.utilisation
            used = [e for e, share in enumerate(left) if share > 0 or not recipe.deliver.drop_exits]
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
