"""Write the figures of a finished run as benchmarks/results/NAME.json.

python benchmarks/collect.py runs/cifar10-2.4M cifar10-2.4M

Several runs go to one file, each under the name of its rows; those of other names that are there already stay:

python benchmarks/collect.py runs/nachos-cifar10 nachos-cifar10 --name nachos
python benchmarks/collect.py runs/edanas-cifar10 nachos-cifar10 --name edanas
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from offramp.architecture import Architecture
from offramp.cost import MAC_RULES, cost
from offramp.policy import Policy, ScoreTable, exit_calibration, policy_calibration
from offramp.report import Delivered
from offramp.run_folder import RunFolder, write_json
from offramp.search.pareto import hypervolume
from record import RESULTS, record

Row = dict[str, Any]

_SHARED = ("seed", "split", "n", "mac_rule")
_DEVICE = (
    "device", "mapping", "energy_mj", "latency_ms", "et_avg", "et_of_means", "static_exit", "static_energy_mj",
    "static_latency_ms", "static_et", "full_et", "exit_overhead_mj", "dynamic_efficiency",
)  # fmt: skip
"""What a row has of the device: as in metrics.json (`offramp.metrics.on_device`)."""


def delivered(run: RunFolder) -> list[Row]:
    """One row per trained network, on the test split."""
    rows = []
    for folder in run.delivered():
        m = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        architecture = Architecture.load(folder / "architecture.json")
        rows.append(
            {
                "name": folder.name.split("-seed")[0], "network": folder.name, "kind": m["kind"],
                "seed": m["seed"], "split": "test", "n": m["splits"]["test"],
                "accuracy": m["test_accuracy"], "mean_macs": m["mean_macs"], "mac_rule": m["mac_rule"],
                "select_accuracy": m["select"]["accuracy"],
                "final_exit_accuracy": m["static_accuracy"], "final_exit_macs": m["static_macs"], "params": m["params"],
                "utilisation": m["utilisation"], "exit_macs": [e["macs"] for e in m["exits"]],
                "exit_accuracy": [e["accuracy"] for e in m["exits"]],
                "seconds": m["train_seconds"], "architecture": architecture.key,
                "thresholds": m.get("thresholds"), "dropped_exits": m.get("dropped_exits"),
                "bits": bits(architecture),
            }
            | {key: m[key] for key in _DEVICE if key in m}
            | by_rule(architecture, m["utilisation"])
            | calibrated(folder)
        )  # fmt: skip
    return rows


def networks(run: RunFolder) -> Row:
    """The architecture of every trained network by its key, to train it again (docs/recipes.md)."""
    found = [Architecture.load(folder / "architecture.json") for folder in run.delivered()]
    return {architecture.key: architecture.model_dump(mode="json") for architecture in found}


def bits(architecture: Architecture) -> str:
    """Of the backbone and the branches, as "8/4"; "float" where neither is quantized; "8w4a" for unlike activations."""
    p = architecture.precision
    parts = ((p.backbone_weights, p.backbone_activations), (p.branch_weights, p.branch_activations))
    if set(sum(parts, ())) == {32}:
        return "float"
    return "/".join(str(w) if w == a else f"{w}w{a}a" for w, a in parts)


def by_rule(architecture: Architecture, utilisation: list[float]) -> Row:
    """Mean MACs, and MACs of leaving at each exit (gamma), under every MAC rule."""
    costs = cost(architecture)
    found: Row = {f"mean_macs_{rule}": costs.mean(utilisation, rule=rule) for rule in MAC_RULES}
    return found | {f"exit_macs_{rule}": list(costs.leaving("macs", rule)) for rule in MAC_RULES}


def calibrated(folder: Path) -> Row:
    """Expected calibration errors of the whole and of each exit, from what the network said of the test split."""
    policy, table = (
        Policy.from_json((folder / "policy.json").read_text(encoding="utf-8")),
        ScoreTable.load(folder / "test_scores.npz"),
    )
    return {
        "calibration_error": policy_calibration(policy, table),
        "exit_calibration_error": list(exit_calibration(table, policy.measure)),
    }


def savings(rows: list[Row], run: RunFolder) -> list[Row]:
    """Per early-exit network and static one trained beside it: mean MACs with thresholds for the static one's accuracy.

    Thresholds are the cheapest that are, on select, as accurate as the static one is there in the mean over its seeds;
    `accuracy` and `mean_macs` are what they come to on test, `static_accuracy` and `static_macs` the static one's. None
    where the network never is that accurate.

    On a device also what `et_saving` tells.
    """
    statics: dict[str, list[Row]] = {}
    for row in rows:
        if row["name"].startswith("static-"):
            statics.setdefault(row["name"], []).append(row)
    found = []
    for row in (row for row in rows if row["kind"] == "early-exit"):
        network = Delivered.read(run.chosen(row["network"]))
        for name, group in statics.items():
            selected, accuracy, macs = (
                mean(r[key] for r in group) for key in ("select_accuracy", "accuracy", "mean_macs")
            )
            test = network.as_accurate(selected, "mean_macs") or {"accuracy": None, "mean_macs": None}
            found.append(
                {
                    "name": f"{row['name']} as accurate as {name}", "of": row["network"],
                    "accuracy": test["accuracy"], "mean_macs": test["mean_macs"],
                    "static_accuracy": accuracy, "static_macs": macs, "static_seeds": len(group),
                    "saving": None if test["mean_macs"] is None else 1 - test["mean_macs"] / macs,
                }
                | et_saving(row, group, network)
                | {key: row[key] for key in _SHARED}
            )  # fmt: skip
    return found


def et_saving(row: Row, statics: list[Row], network: Delivered) -> Row:
    """ET_avg of an early-exit network with thresholds for the accuracy of a static one of the same bits, and the cut.

    As in `savings`, with thresholds of `device_curve.json`; `static_et` is the mean ET of the static network over its
    seeds, `et_cut` = 1 - `et_avg` / `static_et`, `et_accuracy` the accuracy on test. None where the network never is
    that accurate; nothing where bits or devices differ, or the device tells no energy, or the goal was about MACs.
    """
    alike, curve = ("bits", "device", "mapping"), network.device_curve
    if "et_avg" not in row or curve is None:
        return {}
    if any(static.get(key) != row[key] for static in statics for key in alike):
        return {}
    selected, static_et = (mean(static[key] for static in statics) for key in ("select_accuracy", "et_avg"))
    test = network.as_accurate(selected, "et_avg") or {"accuracy": None, "et_avg": None}
    return {key: row[key] for key in alike} | {
        "tuned_for": curve["metric"], "et_avg": test["et_avg"], "et_accuracy": test["accuracy"], "static_et": static_et,
        "et_cut": None if test["et_avg"] is None else 1 - test["et_avg"] / static_et,
    }  # fmt: skip


def own_final(rows: list[Row], run: RunFolder) -> list[Row]:
    """Per early-exit network: thresholds as accurate, on select, as its own final exit, against the backbone alone.

    Where `train.exit_gradient` is 0 the backbone with its final exit is the static network: nothing else trained it. As
    in `et_saving`; `static_et` is that of the whole backbone alone. Nothing where its final exit was dropped.
    """
    found = []
    for row in (row for row in rows if row["kind"] == "early-exit" and "et_avg" in row):
        folder = run.chosen(row["network"])
        network = Delivered.read(folder)
        scores = folder / "select_scores.npz"
        unlike = network.device_curve is None or network.architecture.exits[-1] != row["static_exit"]
        if unlike or not scores.exists():  # folders of earlier versions have none
            continue
        selected = float(ScoreTable.load(scores).exit_accuracy[-1])
        test = network.as_accurate(selected, "et_avg") or {"accuracy": None, "et_avg": None, "mean_macs": None}
        found.append(
            {
                "name": f"{row['name']} as accurate as its final exit", "of": row["network"],
                "accuracy": test["accuracy"], "mean_macs": test["mean_macs"], "et_avg": test["et_avg"],
                "static_accuracy": row["final_exit_accuracy"], "static_et": row["static_et"],
                "et_cut": None if test["et_avg"] is None else 1 - test["et_avg"] / row["static_et"],
            }
            | {key: row[key] for key in (*_SHARED, "bits", "device", "mapping")}
        )  # fmt: skip
    return found


def tuned(rows: list[Row], run: RunFolder) -> list[Row]:
    """Networks whose thresholds came from the search, with thresholds of their `device_curve.json` in their stead.

    Once the most accurate that are no dearer on select, once the cheapest that are no less accurate there; both are
    told on test.
    """
    found = []
    for row in (row for row in rows if row["kind"] == "early-exit" and row["thresholds"] == "genes"):
        folder = run.chosen(row["network"])
        if not (folder / "device_curve.json").exists():
            continue
        own = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["select"]
        stored = json.loads((folder / "device_curve.json").read_text(encoding="utf-8"))
        metric, points = stored["metric"], stored["points"]
        ways = {
            "at equal cost": [p for p in points if p["select"][metric] <= own[metric]][-1:],
            "as accurate": [p for p in points if p["select"]["accuracy"] >= own["accuracy"]][:1],
        }
        for way, (point,) in ((way, chosen) for way, chosen in ways.items() if chosen):
            test = {key: value for key, value in point["test"].items() if key in ("accuracy", "mean_macs", "et_avg")}
            about = {"of": row["network"], "tuned_for": metric, "utilisation": point["utilisation"]}
            shared = {key: row[key] for key in (*_SHARED, "bits", "device", "mapping") if key in row}
            found.append({"name": f"{row['name']} tuned, {way}", **about, **test, **shared})
    return found


def searched(runs: list[RunFolder]) -> list[Row]:
    """Each run's search and random baseline: most accurate feasible trial and hypervolume, on the select split.

    Hypervolumes have one reference point, a hundredth beyond the worst feasible trial of all runs.
    """
    fronts = [json.loads(run.front.read_text(encoding="utf-8")) for run in runs]
    feasible, losses = {}, {}
    for (i, front), study in product(enumerate(fronts), ("search", "random")):
        if found := [t for t in front["trials"] if t["study"] == study and t["feasible"]]:
            feasible[i, study] = found
            losses[i, study] = np.array([[t["metrics"][o] for o in front["objectives"]] for t in found])
    if not feasible:
        return []
    reference, rows = np.concatenate([*losses.values()]).max(0) * 1.01, []
    for (i, study), found in sorted(feasible.items(), key=lambda item: item[0][1] == "random"):
        front, best = fronts[i], max(found, key=lambda t: t["metrics"]["accuracy"])
        rows.append(
            {
                "name": f"{front['evaluator']} {study}", "seed": seed_of(runs[i]),
                "split": front["split"], "n": front["n"],
                "evaluations": sum(t["study"] == study for t in front["trials"]), "feasible": len(found),
                "accuracy": best["metrics"]["accuracy"],
                "mean_macs": best["metrics"]["mean_macs"], "mac_rule": front["mac_rule"],
                "hypervolume": hypervolume(losses[i, study], reference) / float(np.prod(reference)),
            }
        )  # fmt: skip
        if "et_avg" in front["objectives"]:
            rows[-1] |= {"device": front.get("device"), "et_avg": best["metrics"]["et_avg"]}
    return rows


def seed_of(run: RunFolder) -> int:
    """That of the run's recipe; 0 where the folder holds none."""
    return int(tomllib.loads(run.recipe.read_text(encoding="utf-8")).get("seed", 0)) if run.recipe.exists() else 0


def named(rows: list[Row], name: str) -> list[Row]:
    """`rows` of a run under one name: its networks are NAME, all else begins with it, as "NAME static-6M".

    Where it delivered for several budgets, these are not seeds of one network: they are told apart as "NAME BUDGET".
    """
    networks = {row["name"] for row in rows if "kind" in row and not row["name"].startswith("static-")}
    alone = networks if len(networks) == 1 else set()
    return [row | {"name": name if row["name"] in alone else f"{name} {row['name']}"} for row in rows]


def others(rows: list[Row], name: str) -> list[Row]:
    """Those that `named` did not make for this name."""
    return [row for row in rows if row["name"] != name and not row["name"].startswith(f"{name} ")]


def collected(run: RunFolder, recipe: str, note: str, more: list[RunFolder]) -> Row:
    """What is told of one run, and its rows; of `more`, their searches."""
    log = [json.loads(line) for line in run.log_file.read_text(encoding="utf-8").splitlines()]
    trained = delivered(run)
    rows = trained + savings(trained, run) + own_final(trained, run) + tuned(trained, run) + searched([run, *more])
    found = record(
        f"networks trained by {recipe}, and its search beside random search",
        rows[0]["mac_rule"] if rows else "none: no rows",
        rows,
        note=note,
        step_seconds=[{k: e[k] for k in ("event", "seconds") if k in e} for e in log if "seconds" in e],
    )
    return found | {"command": f"offramp run {recipe} && {found['command']}", "networks": networks(run)}


def merged(stored: Row | None, found: Row, name: str) -> Row:
    """A file of several runs, `found` put in under `name`; what is told of each run stands in `runs`."""
    stored = stored or {"runs": {}, "rows": []}
    if "runs" not in stored:
        sys.exit("that file is about one run, which has no name: take another file, or move it away")
    about = {key: value for key, value in found.items() if key not in ("rows", "networks")}
    runs = {key: run for key, run in stored["runs"].items() if key != name} | {name: about}
    rules = {run["mac_rule"] for run in runs.values()}
    rows = others(stored["rows"], name) + named(found["rows"], name)
    kept, known = {row.get("architecture") for row in rows}, stored.get("networks", {}) | found["networks"]
    return {
        "what": f"networks of several runs side by side, each with its search beside random search: {', '.join(runs)}",
        "command": "; ".join(run["command"] for run in runs.values()),
        **{key: found[key] for key in ("hardware", "date", "commit")},
        "mac_rule": found["mac_rule"] if len(rules) == 1 else "that of each row",
        "runs": runs,
        "networks": {key: network for key, network in known.items() if key in kept},
        "rows": rows,
    }


def main() -> None:
    """Read the run, write the file, print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("file", help="writes benchmarks/results/FILE.json")
    parser.add_argument("--name", help="of this run's rows, in a file of several runs")
    parser.add_argument("--recipe", help="that the run was made by (default: FILE, or with --name the folder's name)")
    parser.add_argument("--note", default="")
    parser.add_argument("--searches", type=Path, nargs="+", default=[], help="runs of other seeds, for their searches")
    parser.add_argument("--results", type=Path, default=RESULTS, help="another folder to write to")
    options = parser.parse_args()
    recipe = options.recipe or (options.run.resolve().name if options.name else options.file)
    path = options.results / f"{options.file}.json"
    searches = [RunFolder(folder) for folder in options.searches]
    found = collected(RunFolder(options.run), f"recipes/{recipe}.toml", options.note, searches)
    rows = found["rows"]
    if options.name:
        found = merged(json.loads(path.read_text(encoding="utf-8")) if path.exists() else None, found, options.name)
        rows = named(rows, options.name)
    write_json(path, found)
    for name in dict.fromkeys(row["name"] for row in rows):
        print(summary(name, [row for row in rows if row["name"] == name]))


def summary(name: str, group: list[Row]) -> str:
    """One line on the rows of one name."""
    of = f"({group[0]['split']}, {len(group)} seeds)"
    if any(row["mean_macs"] is None for row in group):
        return f"{name:36} is not reached by every seed on select  {of}"
    accuracies = [row["accuracy"] for row in group]
    spread = f" +- {stdev(accuracies):.4f}" if len(group) > 1 else ""
    macs = mean(row["mean_macs"] for row in group)
    saving = f", {1 - macs / group[0]['static_macs']:.1%} fewer" if "static_macs" in group[0] else ""
    return f"{name:36} {mean(accuracies):.4f}{spread} at {macs / 1e6:.3f} MMACs{saving}{et(group)}  {of}"


def et(group: list[Row]) -> str:
    """Mean ET_avg of the rows of one name, where all have it, and what is cut against the static network's."""
    values = [row.get("et_avg") for row in group]
    if None in values:
        return ""
    cut = f", {1 - mean(values) / group[0]['static_et']:.1%} less" if "et_cut" in group[0] else ""
    return f", ET {mean(values):.4g} J x cycles{cut}"


if __name__ == "__main__":
    main()
