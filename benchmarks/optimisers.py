"""SGD and Muon side by side: one network trained from scratch by both, with the same data, schedule and seeds.

    python benchmarks/optimisers.py runs/cifar10-2.4M/chosen/2.44M/architecture.json optimisers-cifar10 --data cifar10

Everything but `optimiser` is `TrainSettings`' default or given as `--set key=value`. Accuracies are those of every exit
on select; nothing was tuned on it. Trainings go on from their last epoch (in runs/optimisers), so the seconds of one
that was stopped are those of its last leg. Writes benchmarks/results/NAME.json after every training.
"""

import argparse
import json
from pathlib import Path
from statistics import mean, pstdev
from time import monotonic
from typing import Any

from offramp.architecture import Architecture
from offramp.cost import cost
from offramp.data import Task, task
from offramp.progress import track
from offramp.run_folder import identity, write_json
from offramp.training import TrainSettings, score, train
from record import RESULTS, record

OPTIMISERS = ("sgd", "muon")
WORK = Path("runs/optimisers")


def trained(architecture: Architecture, data: Task, settings: TrainSettings, seed: int) -> dict[str, Any]:
    """A row: what `settings` make of `architecture`."""
    made_of = identity(architecture.to_json(), settings.model_dump(), seed, data.fingerprint())
    images = settings.epochs * (len(data.train) // settings.batch * settings.batch)
    started = monotonic()
    with track(f"{settings.optimiser}, seed {seed}", images) as bar:
        net = train(
            architecture, data.without_test(), settings,
            seed=seed, identity=made_of, checkpoint=WORK / made_of, track=bar,
        )  # fmt: skip
    seconds = monotonic() - started
    accuracy = [float(a) for a in score(net, data.select).exit_accuracy]
    return {
        "name": settings.optimiser, "seed": seed, "split": "select", "n": len(data.select),
        "accuracy": accuracy[-1], "exit_accuracy": accuracy, "epochs": settings.epochs, "seconds": round(seconds, 1),
        "architecture": architecture.key,
    }  # fmt: skip


def main() -> None:
    """Train by both, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("architecture", type=Path)
    parser.add_argument("name", help="of the file of results")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of TrainSettings")
    args = parser.parse_args()
    given = {key: json.loads(value) for key, value in (pair.split("=", 1) for pair in args.set)}
    architecture, data, rows = Architecture.load(args.architecture), task(args.data), []
    WORK.mkdir(parents=True, exist_ok=True)
    for seed in range(args.seeds):
        for optimiser in OPTIMISERS:
            settings = TrainSettings(**given | {"optimiser": optimiser})
            rows.append(trained(architecture, data, settings, seed))
            made = record(
                "one network trained from scratch by SGD and by Muon, same data, schedule and seeds",
                "executed",
                rows,
                exit_macs=cost(architecture).leaving("macs", "executed"),
                settings=TrainSettings(**given).model_dump(exclude={"optimiser"}),
            )
            write_json(RESULTS / f"{args.name}.json", made)
    for optimiser in OPTIMISERS:
        found = [row for row in rows if row["name"] == optimiser]
        exits = zip(*(row["exit_accuracy"] for row in found))
        told = ", ".join(f"{mean(a):.2%} ± {pstdev(a):.2%}" for a in exits)
        print(f"{optimiser}: {told}; {mean(row['seconds'] for row in found):.0f} s")


if __name__ == "__main__":
    main()
