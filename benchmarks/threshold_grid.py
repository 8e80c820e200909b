"""AEBNAS's threshold grid beside the default tuner, on the same score tables.

    OMP_NUM_THREADS=1 python benchmarks/threshold_grid.py runs/branch-ablation/cifar10/*-seed* runs/*/chosen/*

Each FOLDER holds a network's `architecture.json` and `test_scores.npz`, as `offramp run` and `branch_ablation.py` leave
them; those of static networks are passed over. Thresholds are set on `select_scores.npz` where that is there, else on a
half of the test images, drawn at random, and the other half is the test. For targets spread over what the exits cost:
the paper's grid (thresholds 0.1, 0.2 and "no exit here" per exit, the best of accuracy% - 0.1 MAEP), and `tune` over
every exit subset, (1) for the most accuracy at the mean cost that the grid came to, and (2) for the least cost at the
accuracy it came to. Both use the margin, and both are then applied to the test images. Seconds are the
processor's for one setting, from the logits on. Writes benchmarks/results/threshold_grid.json.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean
from time import process_time
from typing import Any

import numpy as np

from offramp.architecture import Architecture
from offramp.policy import Goal, Operation, Policy, ScoreTable, TunedThresholds, grid_score, operate
from offramp.run_folder import write_json
from offramp.search.costs import Costs
from record import RESULTS, record

MEASURE = "margin"
TARGETS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Where the targets lie between the costs of leaving at the first and at the last exit."""
Exits = tuple[int, ...]
CostsOf = Callable[[Exits], tuple[float, ...]]
Row = dict[str, Any]


def tables(folder: Path) -> tuple[ScoreTable, ScoreTable, str, str]:
    """What thresholds are set on, what they are tested on, and in words which images these are."""
    test = ScoreTable.load(folder / "test_scores.npz")
    if (folder / "select_scores.npz").exists():
        return ScoreTable.load(folder / "select_scores.npz"), test, "select", "test"
    order = np.random.default_rng(0).permutation(test.samples)
    half = test.samples // 2
    return test.rows(order[:half]), test.rows(order[half:]), "half of test", "other half of test"


def tuned(table: ScoreTable, costs: CostsOf, goal: Goal) -> tuple[Exits, Policy, Operation]:
    """What a delivery does: the best subset of the exits, and its thresholds."""
    thresholds = TunedThresholds(goal, (MEASURE,), restarts=0, drop=True)
    exits = thresholds.keep(table, costs)
    setting = thresholds.set(table.keep(exits), costs(exits))
    return exits, setting.policy, setting.operation


def timed(work: Callable[[ScoreTable], Any], table: ScoreTable) -> tuple[float, Any]:
    """Processor seconds (the machine may be shared), softmax included, and the result."""
    afresh, begin = ScoreTable(table.logits, table.labels), process_time()
    result = work(afresh)
    return process_time() - begin, result


def rows(folder: Path) -> Iterator[Row]:
    """For every target three rows: the grid, and the tuner at equal cost and at equal accuracy."""
    architecture = Architecture.load(folder / "architecture.json")
    table, test, set_on, split = tables(folder)
    common = {"network": "/".join(folder.parts[-3:]), "seed": 0, "set_on": set_on, "split": split}
    costs = Costs().of_exits(architecture, "mean_macs")
    whole = costs(tuple(range(table.exits)))
    for share in TARGETS:
        target = whole[0] + share * (whole[-1] - whole[0])
        seconds, grid = timed(lambda t, target=target: grid_score(t, costs, target, measure=MEASURE), table)
        at = grid.choice.point.operation
        chosen = (grid.choice.exits, grid.choice.point.policy, at)
        yield {"name": "grid", "target": target, "seconds": seconds, **common, **figures(chosen, test, costs)}
        goals = {
            "tuner at equal cost": Goal.accuracy_at_cost(at.mean_cost),
            "tuner at equal accuracy": Goal.cost_at_accuracy(at.accuracy),
        }
        for name, goal in goals.items():
            seconds, found = timed(lambda t, goal=goal: tuned(t, costs, goal), table)
            yield {"name": name, "target": target, "seconds": seconds, **common, **figures(found, test, costs)}


def figures(found: tuple[Exits, Policy, Operation], test: ScoreTable, costs: CostsOf) -> Row:
    """What a setting came to where it was set, and what it comes to on test images."""
    exits, policy, operation = found
    tested = operate(policy, test.keep(exits), costs(exits))
    return {
        "n": test.samples, "accuracy": tested.accuracy, "mean_macs": tested.mean_cost,
        "set_accuracy": operation.accuracy, "set_mean_macs": operation.mean_cost,
        "exits": list(exits), "thresholds": policy.to_dict()["thresholds"],
    }  # fmt: skip


def summary(found: Sequence[Row]) -> list[Row]:
    """Means over networks and targets of what the tuner gains on the grid; positive is better."""
    by = {(row["name"], row["network"], row["target"]): row for row in found}
    grid = [row for row in found if row["name"] == "grid"]
    records = []
    for where, prefix in (("on the images it was set on", "set_"), ("on test images", "")):
        record: Row = {"images": where, "settings": len(grid)}
        for name in ("tuner at equal cost", "tuner at equal accuracy"):
            pairs = [(row, by[name, row["network"], row["target"]]) for row in grid]
            gains = [mine[f"{prefix}accuracy"] - row[f"{prefix}accuracy"] for row, mine in pairs]
            saved = [1 - mine[f"{prefix}mean_macs"] / row[f"{prefix}mean_macs"] for row, mine in pairs]
            record[name] = {"mean_accuracy_gain": mean(gains), "mean_share_of_macs_saved": mean(saved)}
        records.append(record)
    return records


def networks(folders: Sequence[Path]) -> list[Path]:
    """Those that hold a network of several exits and its scores."""
    there = [f for f in folders if (f / "architecture.json").exists() and (f / "test_scores.npz").exists()]
    return [f for f in there if len(Architecture.load(f / "architecture.json").exits) > 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=RESULTS / "threshold_grid.json")
    given = parser.parse_args()
    chosen = networks(given.folders)
    if not chosen:
        sys.exit("none of the folders holds architecture.json and test_scores.npz of a network of several exits")
    found: list[Row] = []
    for folder in chosen:
        found += rows(folder)
        print(f"{folder}: {len(found)} rows", flush=True)
    seconds = {
        name: mean(r["seconds"] for r in found if r["name"] == name) for name in dict.fromkeys(r["name"] for r in found)
    }
    result = record(
        "AEBNAS's threshold grid and the default tuner on the same score tables; accuracy and mean_macs are on test "
        "images, set_accuracy and set_mean_macs on those that thresholds were set on",
        "executed", found, measure=MEASURE, seconds=seconds, summary=summary(found),
    )  # fmt: skip
    write_json(given.out, result)
    print(json.dumps({"seconds": seconds, "summary": result["summary"]}, indent=1))


if __name__ == "__main__":
    main()
