"""From a chosen architecture to a network that can be used: train, tune, test once, export."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from offramp.architecture import Architecture
from offramp.cost import NetworkCost, cost
from offramp.data import Split, Task
from offramp.nn import EarlyExitNet, Supernet
from offramp.nn.quantize import is_quantized, rounds, skeleton
from offramp.policy import GATE_MEASURES, MEASURES, Curve, Goal, Policy, ScoreTable, curve, operate, tune
from offramp.progress import track
from offramp.recipe import Recipe
from offramp.run_folder import identity, write_json, write_text
from offramp.training import score, train_either


def deliver(
    architecture: Architecture,
    folder: Path,
    recipe: Recipe,
    task: Task,
    *,
    supernet: Supernet | None,
    seed: int,
    export: bool,
    mean_macs: float | None = None,
) -> dict[str, Any]:
    """Fill `folder` with a trained, tuned, tested (and exported) network; gives its metrics.

    Thresholds are set on the select split, for `mean_macs` where given, else for the recipe's goal. An exit at which
    nobody leaves is dropped, with its cost, before the test; the test split is read once. Continues from the folder's
    checkpoint after a kill.
    """
    started = time.monotonic()
    net = _trained(architecture, folder, recipe, task, supernet, seed)
    net, policy, select = _tuned(net, goal_of(recipe, mean_macs), recipe, task.select)
    costs = cost(net.architecture)
    leaving = costs.leaving("macs", recipe.policy.mac_rule)
    test = score(net, task.test)
    write_text(folder / "architecture.json", net.architecture.to_json(indent=1) + "\n")
    write_text(folder / "policy.json", policy.to_json() + "\n")
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, folder / "weights.safetensors")
    test.save(folder / "test_scores.npz")
    found = curve(select, leaving, measures=policy.measure)
    write_json(folder / "curve.json", curve_records(found, test, leaving))
    metrics = describe(policy, select, test, costs, recipe.policy.mac_rule, task)
    metrics |= {"seed": seed, "train_seconds": round(time.monotonic() - started, 1), "kind": kind(net.architecture)}
    if export:
        metrics["onnx"] = _exported(net, policy, folder / "model.onnx", recipe, task)
    write_json(folder / "metrics.json", metrics)
    for checkpoint in ("checkpoint", "checkpoint.quantized"):
        (folder / checkpoint).unlink(missing_ok=True)
    return metrics


def load(folder: str | Path) -> tuple[EarlyExitNet, Policy]:
    """The network and policy in a delivered folder.

    Raises:
        FileNotFoundError: the folder lacks one of the files.
    """
    folder = Path(folder)
    net = skeleton(Architecture.load(folder / "architecture.json"))
    net.load_state_dict(load_file(folder / "weights.safetensors"))
    return net.eval(), Policy.from_json((folder / "policy.json").read_text())


def goal_of(recipe: Recipe, mean_macs: float | None = None) -> Goal:
    """The goal that thresholds are tuned for; `mean_macs` is a delivered network's own budget."""
    if mean_macs is not None:
        return Goal.accuracy_at_cost(mean_macs)
    if recipe.policy.mean_macs is not None:
        return Goal.accuracy_at_cost(recipe.policy.mean_macs)
    assert recipe.policy.accuracy is not None
    return Goal.cost_at_accuracy(recipe.policy.accuracy)


def kind(architecture: Architecture) -> str:
    """`static` for a network with one exit."""
    return "early-exit" if len(architecture.exits) > 1 else "static"


def describe(
    policy: Policy, select: ScoreTable, test: ScoreTable, costs: NetworkCost, mac_rule: str, task: Task
) -> dict[str, Any]:
    """`metrics.json`, as far as score tables and costs tell it."""
    leaving = costs.leaving("macs", mac_rule)
    tested, selected = operate(policy, test, leaving), operate(policy, select, leaving)
    total = costs.total
    exits = [
        {
            "position": record.position,
            "macs": leaving[e],
            "branch_macs": record.branch.macs,
            "accuracy": float(test.exit_accuracy[e]),
            "accuracy_of_leavers": tested.exit_accuracy[e],
            "threshold": policy.to_dict()["thresholds"][e] if e < len(policy.thresholds) else None,
            "share": tested.utilisation[e],
        }
        for e, record in enumerate(costs.exits)
    ]
    return {
        "test_accuracy": tested.accuracy,
        "static_accuracy": float(test.exit_accuracy[-1]),
        "mean_macs": tested.mean_cost,
        "mac_rule": mac_rule,
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


def curve_records(found: Curve, test: ScoreTable, leaving: Sequence[float]) -> list[dict[str, Any]]:
    """Operating points tuned on select, each with what it comes to on test."""
    records = []
    for point in found:
        tested = operate(point.policy, test, leaving)
        records.append(
            point.policy.to_dict()
            | {
                "select": {"accuracy": point.accuracy, "mean_macs": point.mean_cost},
                "test": {"accuracy": tested.accuracy, "mean_macs": tested.mean_cost},
                "utilisation": list(tested.utilisation),
            }
        )
    return records


def _trained(
    architecture: Architecture, folder: Path, recipe: Recipe, task: Task, supernet: Supernet | None, seed: int
) -> EarlyExitNet:
    settings = recipe.train
    # The final network sees no more than the search did: its training cannot reach calibrate or test.
    data = task.without_test()
    epochs = settings.epochs + (settings.quantized_epochs if is_quantized(architecture.precision) else 0)
    total = epochs * (len(task.train) // settings.batch * settings.batch)
    made_of = identity(architecture.to_json(), settings.model_dump(), seed, task.fingerprint(), supernet is not None)
    if recipe.gates is not None and architecture.gated:
        total = recipe.gates.epochs * (len(task.train) // recipe.gates.batch * recipe.gates.batch)
        made_of = identity(made_of, recipe.gates.model_dump())
    with track(f"training {folder.name}", total) as bar:
        return train_either(
            architecture, data, settings, recipe.gates,
            supernet=supernet, seed=seed, identity=made_of, checkpoint=folder / "checkpoint", track=bar,
        )  # fmt: skip


def _tuned(net: EarlyExitNet, goal: Goal, recipe: Recipe, select: Split) -> tuple[EarlyExitNet, Policy, ScoreTable]:
    """Tune on `select`; while nobody leaves at some exit, drop it (and what lies behind the last) and tune again."""
    table = score(net, select)
    while True:
        leaving = cost(net.architecture).leaving("macs", recipe.policy.mac_rule)
        tuned = tune(table, leaving, goal, measures=_measures(recipe, net.architecture))
        shares = tuned.operation.utilisation
        used = [e for e, share in enumerate(shares) if share > 0]
        if len(used) == len(shares):
            return net, tuned.policy, table
        net, table = keep_exits(net, used), table.keep(used)


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
