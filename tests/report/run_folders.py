"""Folders of runs that never ran: real architectures, costs, tables and records, with made-up scores."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from offramp.architecture import Architecture
from offramp.cost import cost
from offramp.data import Task
from offramp.metrics import curve_records, describe, kind, means_of, on_device, subset_records
from offramp.policy import Goal, ScoreTable, curve, operate, tune
from offramp.search.constraint import Constraint
from offramp.search.costs import Costs
from offramp.spaces import SearchSpace, space

INITIAL = 8
OTHERS = {"search": "surrogate", "random": "random"}
CONSTRAINTS = ("mean_macs <= 1.6e5", "accuracy >= 0.8")


def digits_space(classes: int = 10) -> SearchSpace:
    return space(
        "offramp", (1, 8, 8), classes, widths=[[8, 12], [16, 24], [24, 32]], depths=[[1], [1, 2], [1, 2]],
        strides=[1, 2, 1], activations=["relu", "relu", "hardswish"], expansions=[2, 3], branch_depths=[0, 1, 2],
        branch_widths=[16, 32], max_exits=3,
    )  # fmt: skip


def scores(labels: Any, accuracies: Sequence[float], classes: int, seed: int) -> ScoreTable:
    """A table whose exits are about as accurate as told; hard samples are hard for every exit, and make it unsure."""
    rng = np.random.default_rng(seed)
    labels = np.asarray(labels)
    n, every = len(labels), np.arange(len(labels))
    ease, logits = rng.random(n), rng.normal(0, 0.5, (n, len(accuracies), classes))
    for e, accuracy in enumerate(accuracies):
        said = np.where(ease < accuracy, labels, (labels + rng.integers(1, classes, n)) % classes)
        logits[every, e, said] += 0.5 + 7 * np.clip(accuracy - ease, 0, 1) + rng.random(n)
    return ScoreTable(logits.astype(np.float32), labels)


def exit_accuracies(architecture: Architecture, best: float) -> list[float]:
    """Later exits and larger networks are better."""
    leaving = cost(architecture).leaving()
    return [best - 0.16 * (1 - macs / leaving[-1]) for macs in leaving]


def write_chosen(
    root: Path,
    task: Task,
    name: str,
    architecture: Architecture,
    *,
    seed: int = 0,
    best: float = 0.97,
    mean_macs: float | None = None,
    costs: Costs | None = None,
) -> dict[str, Any]:
    """Fill chosen/NAME as `deliver` does, for the device of `costs`, tuned for ET; gives the metrics."""
    folder = root / "chosen" / name
    folder.mkdir(parents=True)
    classes, leaving = len(task.classes), cost(architecture).leaving()
    accuracies = exit_accuracies(architecture, best)
    select = scores(task.select.labels, accuracies, classes, 10 + seed)
    test = scores(task.test.labels, accuracies, classes, 20 + seed)
    goal = Goal.accuracy_at_cost(mean_macs or 0.55 * leaving[-1] + 0.45 * leaving[0])
    measures = ("max_probability", "margin")
    policy = tune(select, leaving, goal, measures=measures[0]).policy
    metrics = describe(policy, select, test, cost(architecture), "executed", task)
    metrics |= {"seed": seed, "train_seconds": 41.3, "kind": kind(architecture), "dropped_exits": []}
    (folder / "architecture.json").write_text(architecture.to_json())
    (folder / "policy.json").write_text(policy.to_json())
    means = costs.leaving(architecture) if costs else {"mean_macs": leaving}
    points = curve_records(curve(select, leaving, measures=measures), test, means)
    (folder / "curve.json").write_text(json.dumps(points))
    if costs:
        metrics |= on_device(policy, test, architecture, architecture, costs)
        metrics["select"] |= means_of(policy, select, means)
        tuned = curve_records(curve(select, means["et_avg"], measures=measures[0]), test, means)
        (folder / "device_curve.json").write_text(json.dumps({"metric": "et_avg", "points": tuned}))
    by_subset = subset_records(architecture, policy.measure, "executed", select, test)
    (folder / "subsets.json").write_text(json.dumps(by_subset))
    test.save(folder / "test_scores.npz")
    (folder / "metrics.json").write_text(json.dumps(metrics, allow_nan=False))
    return metrics


def write_device_run(root: Path, task: Task) -> Path:
    """Delivered by a run on a device: 8/8 bits, two seeds, a static network of these bits and one of 8/4 bits."""
    costs = Costs(device="quad-edge-tpu", mapping="wait")
    network, other = (
        space("zniber", (3, 32, 32), 10, width=0.25, heads=["single"], bits=[bits]).largest().with_exits((2, 5, 8, 11))
        for bits in ((8, 8), (8, 4))
    )
    for seed, suffix in enumerate(("", "-seed1")):
        write_chosen(root, task, "frugal" + suffix, network, seed=seed, best=0.97, costs=costs)
    for name, backbone, best in (("static-8", network, 0.93), ("static-8-4", other, 0.92)):
        for seed, suffix in enumerate(("", "-seed1")):
            write_chosen(root, task, name + suffix, backbone.with_exits((11,)), seed=seed, best=best, costs=costs)
    trials = [trial("search", i, network, task, best) for i, best in enumerate((0.9, 0.95))]
    for one in trials:
        one["metrics"] |= {"et_avg": 0.3 + one["number"]}
        one["feasible"] = True
    front = front_record(task, trials) | {"objectives": ["error", "et_avg"], "device": "quad-edge-tpu"}
    (root / "front.json").write_text(json.dumps(front, allow_nan=False))
    return root


def trial(
    study: str, number: int, architecture: Architecture, task: Task, best: float, failed: bool = False
) -> dict[str, Any]:
    """A record of `front.json`; `front` is set later."""
    found: dict[str, Any] = {
        "study": study, "number": number, "proposer": "initial" if number < INITIAL else OTHERS[study],
        "feasible": False, "front": False, "failure": "RuntimeError: loss is NaN" if failed else None, "metrics": {},
        "architecture": architecture.model_dump(mode="json"),
    }  # fmt: skip
    if failed:
        return found
    costs = cost(architecture)
    leaving = costs.leaving()
    table = scores(task.select.labels, exit_accuracies(architecture, best), len(task.classes), number)
    tuned = tune(table, leaving, Goal.accuracy_at_cost(1.6e5), measures="max_probability", restarts=0)
    total, operation = costs.total, tuned.operation
    found["metrics"] = {
        "error": 1 - operation.accuracy, "accuracy": operation.accuracy, "mean_macs": operation.mean_cost,
        "full_macs": float(total.macs), "params": float(total.params), "weight_bytes": float(total.weight_bytes),
        "activation_bytes": float(total.activation_bytes),
    }  # fmt: skip
    found["feasible"] = all(Constraint.parse(text).violation(found["metrics"]) <= 0 for text in CONSTRAINTS)
    found |= {"policy": tuned.policy.to_dict(), "utilisation": list(operation.utilisation), "exit_macs": list(leaving)}
    return found | {"exit_accuracy": [float(a) for a in table.exit_accuracy], "seconds": 0.2}


def dominates(a: dict[str, float], b: dict[str, float]) -> bool:
    """Whether `a` is nowhere worse and somewhere better."""
    pairs = [(a[key], b[key]) for key in ("error", "mean_macs")]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def front_record(task: Task, trials: list[dict[str, Any]], constraints: Sequence[str] = CONSTRAINTS) -> dict[str, Any]:
    """`front.json` as `Run.write_front` writes it; marks the trials on the front of each study."""
    for one in trials:
        rivals = [t["metrics"] for t in trials if t["study"] == one["study"] and t["feasible"]]
        one["front"] = one["feasible"] and not any(dominates(rival, one["metrics"]) for rival in rivals)
    return {
        "task": {
            "name": task.name, "input": task.input, "classes": task.classes,
            "splits": {name: len(split) for name, split in task.splits.items()}, "notes": task.notes,
        },
        "space": {"name": "offramp", "size": 10**12}, "objectives": ["error", "mean_macs"],
        "constraints": list(constraints), "mac_rule": "executed", "split": "select", "n": len(task.select),
        "evaluator": "one-shot", "trials": trials,
    }  # fmt: skip


def sampled_trials(task: Task, study: str, count: int, seed: int, gain: float = 0.0) -> list[dict[str, Any]]:
    """Trials of random networks; the first failed."""
    rng, found, within = np.random.default_rng(seed), [], digits_space(len(task.classes))
    for number in range(count):
        architecture = within.sample(rng)
        full = cost(architecture).total.macs
        best = min(0.985, 0.72 + 0.1 * np.log(full / 3e4) + gain * number / count + rng.normal(0, 0.02))
        found.append(trial(study, number, architecture, task, max(best, 0.45), failed=number == 0))
    return found


def write_run(root: Path, task: Task) -> Path:
    """A whole run: 40 trials and 24 random ones, one budget with three seeds, another, and two static networks."""
    trials = sampled_trials(task, "search", 40, 1, gain=0.08)
    trials += [record | {"study": "random"} for record in trials[:INITIAL]]  # both begin with the same networks
    trials += sampled_trials(task, "random", 24, 2)[INITIAL:]
    root.mkdir(parents=True, exist_ok=True)
    (root / "recipe.toml").write_text('[deliver]\nbudgets = [{ name = "best" }, { name = "tiny" }]\n')
    front = front_record(task, trials)
    (root / "front.json").write_text(json.dumps(front, allow_nan=False))
    three = pick(front, exits=3)
    for seed, suffix in enumerate(("", "-seed1", "-seed2")):
        write_chosen(root, task, "best" + suffix, three, seed=seed, best=0.972 + 0.004 * seed)
    write_chosen(root, task, "tiny", pick(front, exits=2), best=0.93)
    for name, exits, best in (("static-0.10M", 1, 0.955), ("static-0.25M", 2, 0.981)):
        static = pick(front, exits=exits)
        write_chosen(root, task, name, static.with_exits((static.exits[-1],)), best=best)
    return root


def pick(front: dict[str, Any], exits: int) -> Architecture:
    """The most accurate feasible trial's network with that many exits."""
    best = sorted((t for t in front["trials"] if t["feasible"]), key=lambda t: -t["metrics"]["accuracy"])
    made = (Architecture.model_validate(t["architecture"]) for t in best)
    return next(architecture for architecture in made if len(architecture.exits) == exits)


def check_metrics(metrics: dict[str, Any], root: Path, name: str) -> None:
    """That the metrics are those of the stored table."""
    from offramp.report._delivered import Delivered

    network = Delivered.read(root / "chosen" / name)
    assert network.scores is not None
    assert operate(network.policy, network.scores, network.costs.leaving()).accuracy == metrics["test_accuracy"]
