"""Files of few bits against their networks: `python benchmarks/file_agreement.py runs/cifar10-2.4M file-agreement`.

Takes the early-exit networks that a run delivered in float (one per seed), quantizes each to every pair of bits
(backbone/branches), calibrated as `training.train` does and not trained on (`--epochs` does), and tunes its thresholds
anew on select for the mean MACs of the float network's. Then, on images of test:

* ONNX Runtime runs the file of `export_onnx`, as its own check does: on how many images, with early exits, are class
  and exit the eager network's. The check refuses a file that is too far off, which ends this script.
* At 8/8 bits LiteRT runs the stages of `export_tflite`, image by image: the same, every exit alone as well, and the
  accuracy of both. Needs `ethos-u-vela` and `ai-edge-litert`.

Writes benchmarks/results/NAME.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from offramp.cost import cost
from offramp.data import Split
from offramp.deliver import load
from offramp.export import StagedModel, export_onnx, export_tflite
from offramp.export._session import forced
from offramp.nn import EarlyExitNet
from offramp.pipeline import Run
from offramp.policy import Policy
from offramp.progress import track
from offramp.run_folder import write_json
from offramp.training import TrainSettings, score
from precision import Bits, Row, scored, trained, tuned
from record import RESULTS, record

EIGHT = (8, 8)


def rows(run: Run, folder: Path, bits: Sequence[Bits], images: int, epochs: int) -> Iterator[Row]:
    """Those of one network."""
    seed = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["seed"]
    plain, policy = load(folder)
    _, spend = scored(plain, run, policy, None)
    drawn = torch.randperm(len(run.task.test), generator=torch.Generator().manual_seed(seed))[:images]
    shown = Split(run.task.test.images[drawn], run.task.test.labels[drawn])
    for pair in bits:
        name = f"{pair[0]}/{pair[1]}"
        net = trained(run, plain, pair, epochs, TrainSettings().quantized_lr, seed, f"{folder.name} at {name} bits")
        leaving = cost(net.architecture).leaving("macs", run.recipe.policy.mac_rule)
        used = tuned(score(net, run.task.select), leaving, spend, policy.measure)
        about = {"name": folder.name, "bits": name, "seed": seed, "epochs": epochs, "split": "test", "n": len(shown)}
        yield {"file": "onnx", **about, **by_onnx(net, used, run, shown)}
        if pair == EIGHT:
            yield {"file": "tflite", **about, **by_litert(net, used, run, shown)}


def by_onnx(net: EarlyExitNet, policy: Policy, run: Run, shown: Split) -> Row:
    """What the export's own check tells."""
    with TemporaryDirectory() as made:
        check = export_onnx(net, policy, Path(made) / "model.onnx", classes=run.task.classes, images=shown.images)
    return {"same_class": check.top1_agreement, "same_exit": check.exit_agreement}


def by_litert(net: EarlyExitNet, policy: Policy, run: Run, shown: Split) -> Row:
    """With early exits, and every exit alone."""
    with torch.no_grad():
        every = net(shown.images.float())[..., : net.architecture.classes].argmax(-1).numpy()
    said, taken = net.infer(shown.images.float(), policy)
    eager, labels, exits = said.argmax(1).numpy(), shown.labels.numpy(), every.shape[1]
    alone = [tuple(forced(e, exits)) for e in range(exits)]
    with (
        TemporaryDirectory() as made,
        track(f"stages of {policy.exits} exits under LiteRT", len(shown) * (1 + exits)) as bar,
    ):
        export_tflite(net, policy, made, classes=run.task.classes, images=run.task.train.images)
        model = StagedModel(made)

        def ran(thresholds: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
            found = []
            for image in shown.images.numpy():
                found.append(model.run(image, thresholds))
                bar.advance()
            return np.array([logits.argmax() for logits, _ in found]), np.array([exit for _, exit in found])

        classes, left = ran(policy.thresholds)
        by_exit = [float((ran(thresholds)[0] == every[:, e]).mean()) for e, thresholds in enumerate(alone)]
    return {
        "same_class": float((classes == eager).mean()), "same_exit": float((left == taken.numpy()).mean()),
        "same_class_by_exit": by_exit, "accuracy": float((classes == labels).mean()),
        "accuracy_eager": float((eager == labels).mean()),
    }  # fmt: skip


def main() -> None:
    """Measure, write the file, print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run that delivered float networks")
    parser.add_argument("name", help="writes benchmarks/results/NAME.json")
    parser.add_argument("--bits", nargs="+", default=["8/8", "8/4", "4/8", "4/4"], metavar="B/B")
    parser.add_argument("--images", type=int, default=500, help="of test")
    parser.add_argument("--epochs", type=int, default=0, help="of the quantized phase")
    given = parser.parse_args()
    bits = [(int(pair.split("/")[0]), int(pair.split("/")[1])) for pair in given.bits]
    run = Run.stored(given.run)
    folders = [folder for folder in run.folder.delivered() if len(load(folder)[0].architecture.exits) > 1]
    found = [row for folder in folders for row in rows(run, folder, bits, given.images, given.epochs)]
    what = "networks of few bits as files under ONNX Runtime and LiteRT, against the eager network on the same images"
    result = record(what, run.recipe.policy.mac_rule, found, data=run.recipe.data.name, space=run.recipe.space.name)
    write_json(RESULTS / f"{given.name}.json", result)
    for row in found:
        alone = ", ".join(f"{same:.2%}" for same in row.get("same_class_by_exit", ()))
        print(
            f"{row['name']} at {row['bits']} as {row['file']}: class {row['same_class']:.2%}, "
            f"exit {row['same_exit']:.2%} (n = {row['n']}){f'; class by exit {alone}' if alone else ''}"
        )


if __name__ == "__main__":
    main()
