"""NACHOS' Table II beside our figures: `python benchmarks/nachos_table.py`.

Ours come from benchmarks/results/nachos-cifar10.json (with `--data svhn` from nachos-svhn.json; cifar100 is not in the
paper), rows of delivered networks as `collect.py --name NAME` writes them, and from runs given as NAME=FOLDER, which
stand for the file's rows of that name:

    python benchmarks/nachos_table.py no-peak=runs/nachos-cifar10-no-peak

NAME: nachos, nachos muon, edanas, no-constraint, no-peak, no-cost, joint, random, offramp. Of CIFAR-10, no-peak,
no-cost and joint are the network of "nachos muon", trained as it but for what they are named by. Ours are of the test
split; the paper's MACs leave the branches of earlier exits free ("paper" rule), ours are given under that rule and with
every branch that ran.
"Backbone alone" is, of ours, the last exit of the same networks, trained with their early exits.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from collect import delivered, named
from offramp.run_folder import RunFolder
from record import RESULTS

Row = dict[str, Any]
Figure = tuple[float, float, float | None]
"""Mean MACs in millions by the paper's rule, top-1 in percent, its standard deviation over 5 seeds where printed."""

DATA = ("svhn", "cifar10", "cinic10", "imagenette")
"""The paper's columns."""

OURS_ONLY = ("cifar100",)
_NAMES = {
    "nachos": "NACHOS",
    "edanas": "EDANAS",
    "nachos muon": "NACHOS, Muon",
    "no-constraint": "no constraint",
    "no-peak": "no L_peak",
    "no-cost": "no L_cost",
    "joint": "trained jointly",
    "random": "random search",
    "offramp": "space offramp",
    "backbone": "NACHOS backbone alone",
    "alexnet": "EE AlexNet",
    "resnet20": "EE ResNet-20",
}
# arXiv 2401.13330v3, Table II; the paper has no row for L_cost, random search and our space.
_PAPER: dict[str, tuple[Figure | None, ...]] = {
    "nachos": ((1.46, 79.96, 0.84), (2.44, 72.65, 0.49), (2.42, 60.85, 0.30), (92.34, 94.89, 0.15)),
    "edanas": ((1.47, 77.98, 0.24), (2.47, 67.78, 0.12), (2.45, 60.65, 0.16), (81.92, 90.76, 0.54)),
    "no-constraint": ((1.95, 84.59, None), (2.91, 72.25, None), (3.74, 59.96, None), (118.0, 97.36, None)),
    "no-peak": ((1.45, 76.94, None), (2.40, 71.38, None), (2.41, 60.16, None), (84.4, 85.24, None)),
    "backbone": ((4.46, 88.62, None), (5.78, 71.68, None), (5.87, 59.65, None), (104.1, 95.53, None)),
    "alexnet": ((263.5, 89.0, None), (233.5, 73.0, None), None, None),
    "resnet20": ((70.2, 88.5, None), (21.3, 69.7, None), None, None),
}
_OURS = [name for name in _NAMES if name not in ("alexnet", "resnet20")]


def rows_of(stored: list[Row], runs: dict[str, Path]) -> list[Row]:
    """Delivered networks by name: the file's, and those of the runs in their place."""
    found = [row for row in stored if row["name"] in _OURS and row["name"] not in runs and row["split"] == "test"]
    for name, folder in runs.items():
        rows = delivered(RunFolder(folder))
        mine = [row for row in named(rows, name) if row["name"] == name]
        if not mine:
            budgets = ", ".join(dict.fromkeys(row["name"] for row in rows if not row["name"].startswith("static-")))
            sys.exit(f"{folder} delivered for {budgets or 'nothing yet'}; a row of the table needs exactly one budget")
        found += mine
    return found + [backbone(row) for row in found if row["name"] == "nachos"]


def backbone(row: Row) -> Row:
    """A network's last exit alone: what its backbone comes to without early exits, trained with them."""
    macs = row["final_exit_macs"]
    return {
        "name": "backbone", "seed": row["seed"], "accuracy": row["final_exit_accuracy"],
        "mean_macs_paper": macs, "mean_macs_executed": macs,
        "calibration_error": row["exit_calibration_error"][-1],
    }  # fmt: skip


def table(rows: list[Row], data: str) -> Iterator[str]:
    """Lines: the paper's figures beside ours."""
    yield f"{'':24} {'paper':>10} {'':>14} | {'ours':>15} {'MMACs by the rule':>22} {'':>5}"
    yield f"{'':24} {'MMACs':>10} {'top-1 %':>14} | {'top-1 %':>15} {'paper':>10} {'executed':>11} {'ECE %':>6} seeds"
    for name, label in _NAMES.items():
        figure = _PAPER[name][DATA.index(data)] if name in _PAPER and data in DATA else None
        theirs = f"{figure[0]:10.2f} {_spread(figure[1], figure[2]):>14}" if figure else f"{'-':>10} {'-':>14}"
        group = [row for row in rows if row["name"] == name]
        yield f"{label:24} {theirs} | {_ours(group) if name in _OURS else '              -'}"


def exits(rows: list[Row]) -> Iterator[str]:
    """Lines: what every exit of every network costs and does."""
    for row in rows:
        if "exit_macs_paper" not in row:
            continue
        yield ""
        yield f"{_NAMES[row['name']]}, {row.get('network', 'network')}, seed {row['seed']}, n = {row['n']}"
        columns = {
            "gamma, paper rule, MMACs": [macs / 1e6 for macs in row["exit_macs_paper"]],
            "gamma, executed, MMACs": [macs / 1e6 for macs in row["exit_macs_executed"]],
            "utilisation %": [100 * share for share in row["utilisation"]],
            "accuracy of all %": [100 * accuracy for accuracy in row["exit_accuracy"]],
            "ECE %": [100 * error for error in row["exit_calibration_error"]],
        }
        yield from (f"  {label:26} {' '.join(f'{x:8.2f}' for x in values)}" for label, values in columns.items())
        if row.get("dropped_exits"):
            yield f"  dropped, as nobody left there: stages {', '.join(map(str, row['dropped_exits']))}"


def _ours(group: list[Row]) -> str:
    if not group:
        return f"{'not run':>15}"
    accuracies = [100 * row["accuracy"] for row in group]
    spread = _spread(mean(accuracies), stdev(accuracies) if len(group) > 1 else None)
    macs = [mean(row[f"mean_macs_{rule}"] for row in group) / 1e6 for rule in ("paper", "executed")]
    error = 100 * mean(row["calibration_error"] for row in group)
    return f"{spread:>15} {macs[0]:10.2f} {macs[1]:11.2f} {error:6.2f} {len({row['seed'] for row in group}):5}"


def _spread(value: float, deviation: float | None) -> str:
    return f"{value:.2f}" if deviation is None else f"{value:.2f} ± {deviation:.2f}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="NAME=FOLDER", help="a run's folder, for the rows of that name")
    told = f"the column (default: %(default)s); the paper has none of {', '.join(OURS_ONLY)}"
    parser.add_argument("--data", choices=(*DATA, *OURS_ONLY), default="cifar10", help=told)
    parser.add_argument("--results", type=Path, help="default: benchmarks/results/nachos-DATA.json")
    given = parser.parse_args()
    pairs = [text.partition("=") for text in given.runs]
    for name, _, folder in pairs:
        if name not in _OURS or name == "backbone" or not Path(folder, "front.json").is_file():
            names = ", ".join(name for name in _OURS if name != "backbone")
            parser.error(f"{name}={folder} is not NAME=FOLDER with one of {names} and the folder of a run")
    given.runs = {name: Path(folder) for name, _, folder in pairs}
    return given


def main() -> None:
    """Print both tables."""
    given = arguments()
    path = given.results or RESULTS / f"nachos-{given.data}.json"
    if given.results and not path.is_file():
        sys.exit(f"{path} is not there")
    rows = rows_of(json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else [], given.runs)
    print(f"NACHOS, Table II, {given.data}; ours: test split, mean ± standard deviation over seeds")
    for line in (*table(rows, given.data), *exits(rows)):
        print(line.rstrip())


if __name__ == "__main__":
    main()
