"""How good the tuned thresholds are, and how fast: `OMP_NUM_THREADS=1 python benchmarks/threshold_tuning.py`.

Two things are measured on made-up tables (no network, no images):
1. the gap between the search and brute force over every distinct threshold vector, on tables small enough for that;
2. the time of a whole curve and of one tuning on 10 000 samples x 5 exits x 10 classes, one core, beside the time
   that applying as many threshold vectors one by one would take (measured on 200 of them).
Writes benchmarks/results/threshold_tuning.json; `--quick` prints only.
"""

import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np

from offramp.policy import MEASURES, Curve, Goal, Policy, ScoreTable, curve, operate, tune
from offramp.run_folder import write_json
from record import RESULTS, hardware, record

# Exits and samples: too large for the search's block moves to be brute force themselves, small enough for brute force.
SIZES = ((3, 300), (3, 1000), (4, 30), (4, 60), (4, 150), (5, 15), (5, 40))
Row = dict[str, Any]


def senseless(samples: int, exits: int, classes: int, seed: int) -> ScoreTable:
    """Random logits, random labels: the least convex curves, the hardest to search."""
    rng = np.random.default_rng(seed)
    return ScoreTable(rng.normal(size=(samples, exits, classes)) * 2, rng.integers(0, classes, samples))


def lifelike(samples: int, exits: int, classes: int, seed: int) -> ScoreTable:
    """Easy and hard samples; exits that share their mistakes and get better."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, samples)
    signal = np.linspace(2.4, 6.0, exits)[None, :, None] * np.eye(classes)[labels][:, None, :]
    noise = 0.8 * rng.normal(size=(samples, 1, classes)) + 0.6 * rng.normal(size=(samples, exits, classes))
    return ScoreTable(1.5 * (signal + rng.gamma(2.0, 1.0, (samples, 1, 1)) * noise), labels)


def goals(table: ScoreTable, costs: np.ndarray, seed: int) -> dict[str, tuple[Goal, float]]:
    """A goal of each kind within reach; the unit its gap is told in: accuracy, or a share of the last exit's cost."""
    rng = np.random.default_rng(seed)
    worst, *_, best = np.sort(table.exit_accuracy)
    return {
        "accuracy_at_cost": (Goal.accuracy_at_cost(float(rng.uniform(costs[0], costs[-1]))), 1.0),
        "cost_at_accuracy": (
            Goal.cost_at_accuracy(float(rng.uniform(worst, best))),
            costs[-1],
        ),
        "tradeoff": (Goal.tradeoff(float(rng.uniform(0, 0.3))), 1.0),
    }


def gaps(table: ScoreTable, costs: np.ndarray, seed: int) -> dict[str, float]:
    """Search minus brute force by goal; infinite where the search missed a constraint that can be met."""
    brute = curve(table, costs, measures="margin", exact_points=10**8, max_points=10**6)
    assert brute.exact
    found = {}
    for name, (goal, unit) in goals(table, costs, seed).items():
        tuned = tune(table, costs, goal, measures="margin", exact_points=0)
        both = [tuned.operation, brute.at(goal).operation]
        searched, exact = (goal.key(np.array(point.accuracy), np.array(point.mean_cost)) for point in both)
        found[name] = float(searched[1] - exact[1]) / unit if searched[0] == exact[0] else float("inf")
    return found


def gap_rows(tables: int) -> list[Row]:
    rows = []
    for make in (lifelike, senseless):
        for exits, samples in SIZES:
            found: dict[str, list[float]] = {}
            for seed in range(tables):
                costs = np.cumsum(np.random.default_rng(1000 + seed).uniform(0.3, 1.5, exits))
                for name, value in gaps(make(samples, exits, 4, seed), costs, 2000 + seed).items():
                    found.setdefault(name, []).append(value)
            rows += [gap_row(make.__name__, samples, exits, name, values) for name, values in found.items()]
            for row in rows[-3:]:
                print("{name:45} n {n:4} optimal {optimal:5.1%} mean gap {mean_gap:.5f}".format(**row), flush=True)
    return rows


def gap_row(kind: str, samples: int, exits: int, goal: str, found: list[float]) -> Row:
    return {
        "name": f"gap/{kind}/{exits}-exits/{goal}", "seed": f"0..{len(found) - 1}", "split": "made-up", "n": samples,
        "tables": len(found), "optimal": float(np.mean(np.array(found) < 1e-9)), "mean_gap": float(np.mean(found)),
        "largest_gap": float(np.max(found)),
    }  # fmt: skip


def timed(work: Callable[[], Any], repeats: int) -> tuple[dict[str, float], Any]:
    """Median seconds by the clock and of processor time (the machine may be shared), and the last result."""
    seconds, processor = [], []
    for _ in range(repeats):
        start = perf_counter(), process_time()
        result = work()
        seconds.append(perf_counter() - start[0])
        processor.append(process_time() - start[1])
    return {"seconds": median(seconds), "processor_seconds": median(processor)}, result


def naive_seconds(table: ScoreTable, costs: np.ndarray, measure: str) -> float:
    """Processor seconds to apply one threshold vector to the table (vectorised over samples), from 200 of them."""
    rng = np.random.default_rng(0)
    policies = [Policy(measure, tuple(rng.uniform(0, 1, table.exits - 1))) for _ in range(200)]
    return timed(lambda: [operate(policy, table, costs) for policy in policies], 3)[0]["processor_seconds"] / 200


def time_rows(repeats: int) -> list[Row]:
    table, costs = lifelike(10_000, 5, 10, 0), np.array([1.0, 1.6, 2.4, 3.4, 5.0]) * 1e6
    rows: list[Row] = []
    for measure in MEASURES:
        naive = naive_seconds(table, costs, measure)
        times, swept = timed(partial(curve_afresh, table, costs, measure), repeats)
        found = {"points": len(swept), "points_found": swept.found}
        rows.append(time_row(f"curve/{measure}", times, swept.evaluated, naive) | found)
        for name, (goal, _) in (goals(table, costs, 0) | {"tradeoff": (Goal.tradeoff(1e-7), 1.0)}).items():
            times, tuned = timed(partial(tune, table, costs, goal, measures=measure), repeats)
            figures = {"accuracy": tuned.operation.accuracy, "mean_cost": tuned.operation.mean_cost}
            near = {"curve_accuracy": swept.at(goal).accuracy, "curve_mean_cost": swept.at(goal).mean_cost}
            rows.append(time_row(f"tune/{measure}/{name}", times, tuned.evaluated, naive) | figures | near)
        for row in rows[-4:]:
            print("{name:45} {seconds:.2f} s, {evaluated} vectors, {times_faster:.0f}x".format(**row), flush=True)
    return rows


def curve_afresh(table: ScoreTable, costs: np.ndarray, measure: str) -> Curve:
    """The curve from the logits on: softmax and sorting included."""
    return curve(ScoreTable(table.logits, table.labels), costs, measures=measure)


def time_row(name: str, times: dict[str, float], evaluated: int, naive: float) -> Row:
    row = {"name": name, "seed": 0, "split": "made-up", "n": 10_000, "exits": 5, **times, "evaluated": evaluated}
    total = naive * evaluated
    return row | {"naive_seconds": total, "times_faster": total / times["processor_seconds"]}


def main() -> None:
    quick = "--quick" in sys.argv
    rows = [*time_rows(2 if quick else 9), *gap_rows(2 if quick else 40)]
    result = record(
        "Threshold tuning: gap to brute force, time of the curve. Gaps are in accuracy (0..1), those of "
        "cost_at_accuracy in shares of the last exit's cost.",
        "none: made-up costs", rows,
        command="OMP_NUM_THREADS=1 python benchmarks/threshold_tuning.py", hardware=f"{hardware()}, one thread",
    )  # fmt: skip
    if not quick:
        write_json(RESULTS / "threshold_tuning.json", result)


if __name__ == "__main__":
    main()
