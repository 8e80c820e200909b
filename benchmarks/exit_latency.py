"""How much sooner a sample is done that leaves early: `OMP_NUM_THREADS=1 python benchmarks/exit_latency.py`.

Measures an exported file under ONNX Runtime, batch 1, one thread, on the CPU:
1. every image is forced out at every exit in turn (by the thresholds), all side by side in one run: median and ninth
   decile of the latency, and what share of the full network's latency and MACs that is;
2. with `--images`, the file's own thresholds: how many leave where, and how long those samples took.

    python benchmarks/exit_latency.py runs/demo/chosen/NAME/model.onnx --images digits --write exit_latency_digits

Several files are measured side by side, 100 images each in turn. Where a static network is among them that a run
delivered, the others are also measured with the cheapest thresholds that are as accurate on select (`curve.json` beside
the file).

MACs are those of the `architecture.json` beside the model. `--images` is a data set that Offramp knows (its test
split), a folder or an .npz; without it, noise. With no model, untrained networks of the default space are exported, and
beside each the same backbone with its last exit only. `--write NAME` writes benchmarks/results/NAME.json.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime

from offramp.architecture import Architecture
from offramp.cost import cost
from offramp.export import Model
from offramp.policy import as_accurate
from record import RESULTS, hardware, record

CLASSES = tuple("0123456789")
Row = dict[str, Any]
Taken = tuple[float, int]
"""Milliseconds, and the exit."""
BLOCK, WARM_UP = 100, 10


def forced(exit: int, exits: int) -> list[float]:
    """Thresholds with which every sample leaves at `exit` of `exits`."""
    return [np.inf] * exit + [-np.inf] * (exits - 1 - exit)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds, and what the call gave."""
    begin = perf_counter()
    result = call()
    return 1000 * (perf_counter() - begin), result


def in_turns(ways: list[tuple[Model, list[float] | None]], images: np.ndarray, repeats: int) -> list[list[Taken]]:
    """What `repeats` images, in circles, took each way, by model and thresholds.

    The ways take turns in blocks, so that a busy moment hits them alike and each finds its weights in the caches, as it
    does where it alone is at work.
    """
    found: list[list[Taken]] = [[] for _ in ways]
    for start in range(0, repeats, BLOCK):
        for (model, given), mine in zip(ways, found):
            for i in range(start - WARM_UP, min(start + BLOCK, repeats)):
                took, (_, exit) = timed(lambda: model.run(images[i % len(images)], given))  # noqa: B023
                if i >= start:
                    mine.append((took, exit))
    return found


def forced_rows(models: dict[str, Model], images: np.ndarray, repeats: int) -> list[Row]:
    """One row for each exit of each model."""
    ways = [(name, model, exit) for name, model in models.items() for exit in range(model.exits)]
    found = in_turns([(model, forced(exit, model.exits)) for _, model, exit in ways], images, repeats)
    assert all(taken == exit for (_, _, exit), mine in zip(ways, found) for _, taken in mine)
    times = {(name, exit): [took for took, _ in mine] for (name, _, exit), mine in zip(ways, found)}
    return [exit_row(name, model, exit, times) for name, model, exit in ways]


def exit_row(name: str, model: Model, exit: int, times: dict[tuple[str, int], list[float]]) -> Row:
    mine, full = times[name, exit], times[name, model.exits - 1]
    row: Row = {"name": name, "forced": True, "exit": exit, "exits": model.exits, "n": len(mine)}
    row |= {"latency_ms": float(np.median(mine)), "latency_p90_ms": float(np.quantile(mine, 0.9))}
    row["latency_share"] = row["latency_ms"] / float(np.median(full))
    macs = exit_macs(model)
    return row | ({"macs": macs[exit], "macs_share": macs[exit] / macs[-1]} if macs else {})


def policy_rows(models: dict[str, Model], images: np.ndarray) -> list[Row]:
    """What thresholds come to: one row for each exit that samples left at, one for all of them."""
    ways: list[tuple[str, str, list[float] | None]] = []
    for name, model in models.items():
        ways += [(name, "none leaves early", forced(model.exits - 1, model.exits))]
        ways += [(name, label, given) for label, given in thresholds(model, models).items()]
    found = in_turns([(models[name], given) for name, _, given in ways], images, len(images))
    full = {name: [t for t, _ in mine] for (name, label, _), mine in zip(ways, found) if label == ways[0][1]}
    return [
        row
        for (name, label, _), mine in zip(ways, found)
        if label != ways[0][1]
        for row in leaving_rows(name, models[name], label, mine, full[name])
    ]


def leaving_rows(name: str, model: Model, label: str, found: list[Taken], full: list[float]) -> Iterator[Row]:
    """Rows of one network under some thresholds: by exit, and the mean over all samples."""
    times, exits, macs = np.array([t for t, _ in found]), np.array([e for _, e in found]), exit_macs(model)
    for exit in [*np.unique(exits).tolist(), None]:
        chosen = times if exit is None else times[exits == exit]
        row: Row = {"name": name, "thresholds": label, "forced": False, "exit": "mean" if exit is None else exit}
        row |= {"exits": model.exits, "n": len(chosen), "share": len(chosen) / len(times)}
        row["latency_ms"] = float(np.mean(chosen) if exit is None else np.median(chosen))
        row["latency_share"] = row["latency_ms"] / float(np.mean(full) if exit is None else np.median(full))
        if exit is None:
            row["latency_median_ms"] = float(np.median(chosen))
        if macs:
            row["macs"] = float(np.mean([macs[e] for e in exits])) if exit is None else macs[exit]
            row["macs_share"] = row["macs"] / macs[-1]
        yield row


def thresholds(model: Model, models: dict[str, Model]) -> dict[str, list[float] | None]:
    """By a label, the file's own (None), and those that are on select as accurate as each static network beside."""
    found: dict[str, list[float] | None] = {"own": None}
    curve = model.path.with_name("curve.json")
    if model.exits == 1 or not curve.exists():
        return found
    points = json.loads(curve.read_text(encoding="utf-8"))
    select = [point["select"] for point in points]
    for name, other in models.items():
        metrics = other.path.with_name("metrics.json")
        if other.exits > 1 or not metrics.exists():
            continue
        wanted = json.loads(metrics.read_text(encoding="utf-8"))["select"]["accuracy"]
        best = as_accurate(wanted, [s["accuracy"] for s in select], [s["mean_macs"] for s in select])
        if best is not None:
            found[f"as accurate as {name}"] = [float(t) for t in points[best]["thresholds"]]
    return found


def exit_macs(model: Model) -> tuple[float, ...]:
    """MACs of a sample that leaves at each exit (executed rule); none where no `architecture.json` lies beside it."""
    path = model.path.with_name("architecture.json")
    return cost(Architecture.load(path)).leaving() if path.exists() else ()


def untrained(folder: Path, seed: int) -> Iterator[tuple[str, Model]]:
    """Networks of the default space for 3x32x32 with five exits, the largest, and each one's backbone on its own."""
    from offramp.spaces import space

    found = space("offramp", (3, 32, 32), 10)
    samples = islice((a for a in map(found.sample, count(100 * seed)) if len(a.exits) == 5), 3)
    for name, architecture in [*((f"sample-{a.key}", a) for a in samples), ("largest", found.largest())]:
        yield name, exported(folder / name, architecture, seed)
        static = architecture.with_exits(architecture.exits[-1:])
        yield f"{name}-static", exported(folder / f"{name}-static", static, seed)


def exported(folder: Path, architecture: Architecture, seed: int) -> Model:
    import torch

    from offramp.export import export_onnx
    from offramp.nn import build
    from offramp.policy import Policy

    images = torch.randint(0, 256, (8, *architecture.input), dtype=torch.uint8)
    policy = Policy("max_probability", (0.5,) * (len(architecture.exits) - 1))
    path = folder / "model.onnx"
    export_onnx(build(architecture, seed), policy, path, classes=CLASSES, images=images)
    (folder / "architecture.json").write_text(architecture.to_json(), encoding="utf-8")
    return Model(path)


def test_images(source: str | None, model: Model, limit: int, seed: int) -> np.ndarray:
    """Uint8 (N, C, H, W): noise, or from a data set's test split, a folder or an .npz."""
    if source is None:
        return np.random.default_rng(seed).integers(0, 256, (32, *model.input), np.uint8)
    from offramp.data import names, read_split, task

    split = task(source, seed=seed).test if source in names() else read_split(source, model.classes, model.input)
    return split.images[:limit].numpy()


def show(rows: list[Row]) -> None:
    columns = ("exit", "n", "share", "latency_ms", "latency_p90_ms", "latency_share", "macs", "macs_share")
    print(f"{'name':<32}" + "".join(f"{column:>15}" for column in columns))
    for row in rows:
        cells = [row.get(column, "") for column in columns]
        texts = [_text(cell) for cell in cells]
        print(f"{row['name']:<32}" + "".join(f"{text:>15}" for text in texts))


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.3f}" if cell < 1e4 else f"{cell:.0f}"
    return str(cell)


def result(rows: list[Row], command: str) -> Row:
    return record(
        "Latency of an exported early-exit network by the exit taken, ONNX Runtime, CPU, batch 1, one thread.",
        "executed",
        rows,
        command=command,
        hardware=f"{hardware()}, one thread, onnxruntime {onnxruntime.__version__}",
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL.onnx")
    parser.add_argument("--images", help="a data set's name, a folder or an .npz")
    parser.add_argument("--limit", type=int, default=1000, help="images used at most (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=300, help="measurements for each exit (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", metavar="NAME", help="write benchmarks/results/NAME.json")
    return parser.parse_args()


def command(given: argparse.Namespace) -> str:
    options = {"images": None, "limit": 1000, "repeats": 300, "seed": 0, "write": None}
    chosen = [f"--{name} {getattr(given, name)}" for name, usual in options.items() if getattr(given, name) != usual]
    return " ".join(["OMP_NUM_THREADS=1 python benchmarks/exit_latency.py", *given.models, *chosen])


def main() -> None:
    given = arguments()
    with tempfile.TemporaryDirectory() as folder:
        models = {path: Model(path) for path in given.models} or dict(untrained(Path(folder), given.seed))
        rows: list[Row] = []
        # Files that are given side by side; else one network after the other, each with its bare backbone.
        heads = [name for name in models if not name.endswith("-static")]
        groups = [tuple(models)] if given.models else [(name, f"{name}-static") for name in heads]
        for names in groups:
            group = {name: models[name] for name in names}
            images = test_images(given.images, group[names[0]], given.limit, given.seed)
            rows += forced_rows(group, images, given.repeats)
            rows += policy_rows(group, images) if given.images else []
    split = "noise" if given.images is None else f"{given.images} test" if "/" not in given.images else "given"
    rows = [{"seed": given.seed, "split": split, **row} for row in rows]
    show(rows)
    if given.write:
        path = RESULTS / f"{given.write}.json"
        path.write_text(json.dumps(result(rows, command(given)), indent=1) + "\n", encoding="utf-8")
        print(f"written: {path}")


if __name__ == "__main__":
    main()
