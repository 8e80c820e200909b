"""Write the figures of a finished run as benchmarks/results/NAME.json.

python benchmarks/collect.py runs/cifar10-2.4M cifar10-2.4M
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import numpy as np

from offramp.architecture import Architecture
from offramp.run_folder import RunFolder, write_json
from offramp.search.pareto import hypervolume

RESULTS = Path(__file__).parent / "results"


def hardware() -> str:
    """Cores and processor; on a GPU its name."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    model = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), platform.machine()
    )
    return f"{os.cpu_count()} cores, {model.split(':')[-1].strip()}, torch {torch.__version__}"


def delivered(run: RunFolder) -> list[dict[str, Any]]:
    """One row per trained network, on the test split."""
    rows = []
    for folder in run.delivered():
        m = json.loads((folder / "metrics.json").read_text())
        name = folder.name.split("-seed")[0]
        rows.append(
            {
                "name": name, "kind": m["kind"], "seed": m["seed"], "split": "test", "n": m["splits"]["test"],
                "accuracy": m["test_accuracy"], "mean_macs": m["mean_macs"], "mac_rule": m["mac_rule"],
                "final_exit_accuracy": m["static_accuracy"], "final_exit_macs": m["static_macs"], "params": m["params"],
                "utilisation": m["utilisation"], "exit_macs": [e["macs"] for e in m["exits"]],
                "exit_accuracy": [e["accuracy"] for e in m["exits"]],
                "seconds": m["train_seconds"], "architecture": Architecture.load(folder / "architecture.json").key,
            }
        )  # fmt: skip
    return rows


def searched(run: RunFolder) -> list[dict[str, Any]]:
    """The search and the random baseline: best feasible trial and hypervolume, on the select split."""
    front = json.loads(run.front.read_text())
    feasible = {}
    for study in ("search", "random"):
        feasible[study] = [t for t in front["trials"] if t["study"] == study and t["feasible"]]
    losses = {
        s: np.array([[t["metrics"][o] for o in front["objectives"]] for t in found]) for s, found in feasible.items()
    }
    reference = np.concatenate([x for x in losses.values() if len(x)]).max(0) * 1.01
    rows = []
    for study, found in feasible.items():
        if not found:
            continue
        best = max(found, key=lambda t: t["metrics"]["accuracy"])
        total = sum(t["study"] == study for t in front["trials"])
        rows.append(
            {
                "name": f"{front['evaluator']} {study}", "seed": 0, "split": front["split"], "n": front["n"],
                "evaluations": total, "feasible": len(found), "accuracy": best["metrics"]["accuracy"],
                "mean_macs": best["metrics"]["mean_macs"], "mac_rule": front["mac_rule"],
                "hypervolume": hypervolume(losses[study], reference) / float(np.prod(reference)),
            }
        )  # fmt: skip
    return rows


def main() -> None:
    """Read the run, write the file, print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    run = RunFolder(options.run)
    log = [json.loads(line) for line in run.log_file.read_text().splitlines()]
    rows, recipe = delivered(run) + searched(run), f"recipes/{options.name}.toml"
    write_json(
        RESULTS / f"{options.name}.json",
        {
            "what": f"networks trained by {recipe}, and its search beside random search",
            "command": f"offramp run {recipe} && python benchmarks/collect.py {options.run} {options.name}",
            "hardware": hardware(),
            "date": datetime.date.today().isoformat(),
            "commit": subprocess.run(
                ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
            ).stdout.strip(),
            "mac_rule": rows[0]["mac_rule"] if rows else None,
            "note": options.note,
            "step_seconds": [{k: e[k] for k in ("event", "seconds") if k in e} for e in log if "seconds" in e],
            "rows": rows,
        },
    )
    for name in dict.fromkeys(row["name"] for row in rows):
        group = [row for row in rows if row["name"] == name]
        accuracies = [row["accuracy"] for row in group]
        spread = f" +- {pstdev(accuracies):.4f}" if len(group) > 1 else ""
        macs = mean(row["mean_macs"] for row in group) / 1e6
        print(
            f"{name:24} {mean(accuracies):.4f}{spread} at {macs:.3f} MMACs  ({group[0]['split']}, {len(group)} seeds)"
        )


if __name__ == "__main__":
    main()
