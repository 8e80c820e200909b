"""What few bits cost in accuracy: `python benchmarks/precision.py runs/cifar10-2.4M cifar10-precision`.

Takes the early-exit networks that a run delivered in float (one per seed), quantizes each to every pair of bits
(backbone/branches), once as calibrated (0 epochs) and once trained on by the recipe's quantized phase (`--epochs`), and
scores it as the float network: thresholds tuned anew on select for the mean MACs that the float network's take there,
then applied to test; and every exit alone. `drop` is the float network's accuracy less this one's.

Every row is kept in RUN/precision.jsonl as soon as it is there. Writes benchmarks/results/NAME.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter
from typing import Any

import torch

from offramp.architecture import Precision
from offramp.cost import cost
from offramp.deliver import load
from offramp.nn import EarlyExitNet
from offramp.pipeline import Run
from offramp.policy import Goal, Policy, ScoreTable, operate, tune
from offramp.progress import track
from offramp.run_folder import identity, write_json
from offramp.training import TrainSettings, score
from offramp.training._quantized import quantized
from record import RESULTS, commit, record

Row = dict[str, Any]
Bits = tuple[int, int]
FLOAT = (32, 32)


def at(net: EarlyExitNet, bits: Bits) -> EarlyExitNet:
    """A copy of the float network `net` whose architecture asks for these bits, for `quantized`."""
    backbone, branches = bits
    precision = Precision(
        backbone_weights=backbone, backbone_activations=backbone, branch_weights=branches, branch_activations=branches
    )
    found = EarlyExitNet(net.architecture.model_copy(update={"precision": precision}))
    found.load_state_dict(net.state_dict())
    return found.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def scored(net: EarlyExitNet, run: Run, policy: Policy, spend: float | None) -> tuple[Row, float]:
    """Accuracies on test, and the mean MACs on select: by `policy`, or tuned anew for `spend` mean MACs on select."""
    leaving = cost(net.architecture).leaving("macs", run.recipe.policy.mac_rule)
    select, test = score(net, run.task.select), score(net, run.task.test)
    used = policy if spend is None else tuned(select, leaving, spend, policy.measure)
    selected, tested = operate(used, select, leaving), operate(used, test, leaving)
    row = {
        "split": "test", "n": test.samples, "accuracy": tested.accuracy, "mean_macs": tested.mean_cost,
        "mac_rule": run.recipe.policy.mac_rule, "utilisation": list(tested.utilisation),
        "final_exit_accuracy": float(test.exit_accuracy[-1]), "exit_accuracy": test.exit_accuracy.tolist(),
    }  # fmt: skip
    return row, selected.mean_cost


def tuned(select: ScoreTable, leaving: Sequence[float], spend: float, measure: str) -> Policy:
    """For the most accuracy within `spend` mean MACs on select."""
    return tune(select, leaving, Goal.accuracy_at_cost(spend), measures=measure).policy


def rows(run: Run, bits: Sequence[Bits], epochs: Sequence[int], lr: float, only: Sequence[str]) -> Iterator[Row]:
    """Per delivered network the float row, then one per pair of bits and number of epochs.

    `only`: names of networks; all where it is empty.
    """
    kept = run.folder.root / "precision.jsonl"
    done = (
        {row["made_of"]: row for row in map(json.loads, kept.read_text(encoding="utf-8").splitlines())}
        if kept.exists()
        else {}
    )
    for folder in run.folder.delivered():
        if only and folder.name not in only:
            continue
        seed = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["seed"]
        net, policy = load(folder)
        if len(net.architecture.exits) < 2:
            continue
        plain, spend = scored(net, run, policy, None)
        yield {"name": "float", "network": folder.name, "seed": seed, "epochs": 0, "drop": 0.0} | plain
        for pair, count in product(bits, epochs):
            made_of = identity(
                folder.name, pair, count, lr, run.recipe.train.model_dump(), plain["exit_accuracy"], commit()
            )
            if made_of not in done:
                begun = perf_counter()
                few = trained(run, net, pair, count, lr, seed, f"{folder.name} at {pair[0]}/{pair[1]} bits")
                seconds = round(perf_counter() - begun, 1)
                row, _ = scored(few, run, policy, spend)
                name = f"{pair[0]}/{pair[1]}"
                about = {
                    "name": name, "bits": name, "network": folder.name, "seed": seed, "epochs": count, "lr": lr,
                    "commit": commit(),
                }  # fmt: skip
                drops = {
                    "drop": plain["accuracy"] - row["accuracy"],
                    "final_exit_drop": plain["final_exit_accuracy"] - row["final_exit_accuracy"],
                }
                done[made_of] = about | drops | row | {"seconds": seconds, "made_of": made_of}
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(done[made_of]) + "\n")
            yield {key: value for key, value in done[made_of].items() if key != "made_of"}


def trained(run: Run, net: EarlyExitNet, bits: Bits, epochs: int, lr: float, seed: int, title: str) -> EarlyExitNet:
    """`net` at these bits, calibrated on images of train, and trained on for `epochs`."""
    changes = {"quantized_epochs": epochs, "quantized_lr": lr}
    settings = TrainSettings.model_validate(run.recipe.train.model_dump() | changes)
    train = run.task.train
    drawn = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:1000]
    with track(title, max(1, epochs) * (len(train) // settings.batch * settings.batch)) as bar:
        return quantized(
            at(net, bits), train.images[drawn], run.task.without_test(), settings,
            seed=seed, identity="", checkpoint=None, track=bar,
        )  # fmt: skip


def summary(found: Sequence[Row]) -> Iterator[str]:
    """A line per pair of bits and number of epochs: the drop in points, over seeds."""
    for name, epochs in dict.fromkeys((row["name"], row["epochs"]) for row in found):
        group = [row for row in found if (row["name"], row["epochs"]) == (name, epochs)]
        drops = [100 * row["drop"] for row in group]
        spread = f" +- {stdev(drops):.2f}" if len(group) > 1 else ""
        accuracy, macs = mean(row["accuracy"] for row in group), mean(row["mean_macs"] for row in group)
        yield (
            f"{name:6} {epochs} epochs: {100 * accuracy:.2f} % at {macs / 1e6:.3f} MMACs, "
            f"{mean(drops):.2f}{spread} points lost ({len(group)} seeds)"
        )


def main() -> None:
    """Measure, write the file, print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run that delivered float networks")
    parser.add_argument("name", help="writes benchmarks/results/NAME.json")
    parser.add_argument("--bits", nargs="+", default=["8/8", "8/4", "4/8", "4/4"], metavar="B/B")
    parser.add_argument("--epochs", nargs="+", type=int, default=[0, 2], help="of the quantized phase")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NETWORK", help="folders below RUN/chosen; default all"
    )
    parser.add_argument("--lr", type=float, default=TrainSettings().quantized_lr, help="its peak learning rate")
    given = parser.parse_args()
    bits = [(int(pair.split("/")[0]), int(pair.split("/")[1])) for pair in given.bits]
    run = Run.stored(given.run)
    found = list(rows(run, bits, given.epochs, given.lr, given.only))
    result = record(
        "early-exit networks trained in float, at few bits: calibrated, and trained on to imitate themselves",
        run.recipe.policy.mac_rule, found, data=run.recipe.data.name, space=run.recipe.space.name,
    )  # fmt: skip
    path = RESULTS / f"{given.name}.json"
    write_json(path, result)
    print("\n".join((*summary(found), f"written: {path}")))


if __name__ == "__main__":
    main()
