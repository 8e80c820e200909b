"""A delivered network in float, once more at few bits."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from offramp.deliver import costs_of, finish, load
from offramp.nn.quantize import is_quantized
from offramp.pipeline import Run
from offramp.progress import track
from offramp.run_folder import TRAINING, delivered_file, identity, read_json
from offramp.spaces import Candidate, SpaceOptions, precision_of
from offramp.training import quantized, some_images

_SEED = re.compile(r"-seed-?\d+$")


def quantize_delivered(
    folder: str | Path, backbone: int = 8, branches: int | None = None, epochs: int = 0
) -> tuple[Path, dict[str, Any]]:
    """The network in `folder`, DIR/chosen/NAME of a run, at few bits, delivered as DIR/chosen/NAME-BACKBONE-BRANCHES;
    gives that folder and its metrics.

    It is calibrated on images of train, or trained on for `epochs` to imitate itself in float, by
    `train.quantized_lr`. Thresholds are set anew on select, for the network's own budget, and all that a run does with
    a trained network is done: test, export, device, report.

    Args:
        folder: of a network in float.
        backbone: bits of its weights and activations, 2 to 8, or 32 for float.
        branches: those of the exits; default: as many.
        epochs: of training; 0: calibrated only.

    Raises:
        FileNotFoundError: `folder` holds no delivered network.
        ValueError: it has few bits already, these bits cannot be computed, the network is there already at these, or
            the run's device cannot tell what it costs.
        RuntimeError: a run is at work in DIR.
    """
    started, folder = time.monotonic(), Path(folder).resolve()
    metrics = read_json(delivered_file(folder, "metrics.json"), ("seed",))
    pair = SpaceOptions(bits=((backbone, backbone if branches is None else branches),)).bits[0]
    net, policy = load(folder)
    if is_quantized(net.architecture.precision):
        raise ValueError(f"the network in {folder} has few bits already; give one in float")
    if not is_quantized(precision := precision_of(pair)):
        raise ValueError("bits are 32 for backbone and branches; that is float, as the network is already")
    run, seed = Run.stored(folder.parents[1]), int(metrics["seed"])
    there = folder.with_name(_renamed(folder.name, "-{}-{}".format(*pair)))
    if (there / "metrics.json").exists():
        raise ValueError(f"{there} is there already; move it away to have it made anew")
    net.architecture = net.architecture.model_copy(update={"precision": precision})
    costs_of(run.recipe).leaving(net.architecture)  # a layer that the device's table lacks ends this here
    data, settings = run.task.without_test(), run.recipe.train.model_copy(update={"quantized_epochs": epochs})
    made_of = identity(net.architecture.to_json(), settings.model_dump(), seed, run.task.fingerprint())
    with run.folder.held():
        there.mkdir(exist_ok=True)
        total = epochs * (len(data.train) // settings.batch * settings.batch)
        with track(f"training {there.name}", total, unit="images") as bar:
            trained = quantized(
                net, some_images(data, seed), data, settings,
                seed=seed, identity=made_of, checkpoint=there / f"{made_of}{TRAINING}", track=bar,
            )  # fmt: skip
        candidate = Candidate(net.architecture, policy.thresholds or None)
        found = finish(
            trained, candidate, there, run.recipe, run.task, budget=_budget(run, folder.name), export=True,
            seed=seed, train_seconds=round(time.monotonic() - started, 1), quantized_from=folder.name,
        )  # fmt: skip
        for checkpoint in there.glob(f"*{TRAINING}*"):
            checkpoint.unlink()
        told = {key: found[key] for key in ("test_accuracy", "mean_macs", "mac_rule", "train_seconds", "seed")}
        run.folder.log("delivered", name=there.name, quantized_from=folder.name, **told)
        run.report()
    return there, found


def _renamed(name: str, bits: str) -> str:
    """`name` with its bits, before the seed, so that the seeds of one budget still go together."""
    seed = _SEED.search(name)
    return f"{name[: seed.start()]}{bits}{seed[0]}" if seed else f"{name}{bits}"


def _budget(run: Run, name: str) -> tuple[str, float] | None:
    """That which a network was delivered for, where it had one of its own."""
    budgets = {budget.name: budget.budget for budget in run.recipe.deliver.budgets}
    return budgets.get(_SEED.sub("", name))
