"""Whole networks as TFLite files against themselves: `python benchmarks/npu_agreement.py runs/cifar10-2.4M npu-agreement`.

Takes the early-exit networks that a run delivered in float (one per seed), quantizes each to 8 bits, calibrated as
`training.train` does and not trained on (`--epochs` does), tunes its thresholds anew on select for the mean MACs of the
float network's, and writes its stages. LiteRT then runs the files image by image on images of test. Told: on how many
the class is the eager network's, with early exits and of every exit alone, on how many the exit taken is, and the
accuracy of both. Needs `ethos-u-vela` and `ai-edge-litert`.

Writes benchmarks/results/NAME.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from precision import scored, trained, tuned
from record import RESULTS, record

from offramp.cost import cost
from offramp.deliver import load
from offramp.export import StagedModel, export_tflite
from offramp.pipeline import Run
from offramp.progress import track
from offramp.run_folder import write_json
from offramp.training import TrainSettings, score


def agreement(run: Run, folder: Path, images: int, epochs: int) -> dict[str, Any]:
    """The row of one network."""
    seed = json.loads((folder / "metrics.json").read_text())["seed"]
    plain, policy = load(folder)
    _, spend = scored(plain, run, policy, None)
    net = trained(run, plain, (8, 8), epochs, TrainSettings().quantized_lr, seed, f"{folder.name} at 8 bits")
    leaving = cost(net.architecture).leaving("macs", run.recipe.policy.mac_rule)
    policy = tuned(score(net, run.task.select), leaving, spend, policy.measure)
    drawn = torch.randperm(len(run.task.test), generator=torch.Generator().manual_seed(seed))[:images]
    shown, labels = run.task.test.images[drawn], run.task.test.labels[drawn].numpy()
    with torch.no_grad():
        every = net(shown.float())[..., : net.architecture.classes].argmax(-1).numpy()
    said, taken = net.infer(shown.float(), policy)
    with TemporaryDirectory() as made:
        export_tflite(net, policy, made, classes=run.task.classes, images=run.task.train.images)
        model = StagedModel(made)
        exits = every.shape[1]
        alone = [tuple(0.0 if i == e else np.inf for i in range(exits - 1)) for e in range(exits)]
        with track(f"{folder.name} under LiteRT", len(drawn) * (1 + exits)) as bar:

            def ran(thresholds: tuple[float, ...] | None) -> tuple[np.ndarray, np.ndarray]:
                found = []
                for image in shown.numpy():
                    found.append(model.run(image) if thresholds is None else model.run(image, thresholds))
                    bar.advance()
                return np.array([logits.argmax() for logits, _ in found]), np.array([exit for _, exit in found])

            classes, left = ran(None)
            by_exit = [float((ran(thresholds)[0] == every[:, e]).mean()) for e, thresholds in enumerate(alone)]
    eager = said.argmax(1).numpy()
    return {
        "name": folder.name, "seed": seed, "split": "test", "n": len(drawn), "bits": "8/8", "epochs": epochs,
        "same_class": float((classes == eager).mean()), "same_exit": float((left == taken.numpy()).mean()),
        "same_class_by_exit": by_exit, "accuracy_litert": float((classes == labels).mean()),
        "accuracy_eager": float((eager == labels).mean()),
    }  # fmt: skip


def main() -> None:
    """Measure, write the file, print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run that delivered float networks")
    parser.add_argument("name", help="writes benchmarks/results/NAME.json")
    parser.add_argument("--images", type=int, default=500, help="of test")
    parser.add_argument("--epochs", type=int, default=0, help="of the quantized phase")
    given = parser.parse_args()
    run = Run.stored(given.run)
    folders = [folder for folder in run.folder.delivered() if len(load(folder)[0].architecture.exits) > 1]
    rows = [agreement(run, folder, given.images, given.epochs) for folder in folders]
    what = "networks of 8 bits as TFLite files under LiteRT, against the eager network on the same images"
    result = record(what, run.recipe.policy.mac_rule, rows, data=run.recipe.data.name, space=run.recipe.space.name)
    write_json(RESULTS / f"{given.name}.json", result)
    for row in rows:
        print(
            f"{row['name']}: class {row['same_class']:.2%}, exit {row['same_exit']:.2%}, by exit "
            f"{', '.join(f'{same:.2%}' for same in row['same_class_by_exit'])}; accuracy {row['accuracy_litert']:.2%}, "
            f"eager {row['accuracy_eager']:.2%} (n = {row['n']})"
        )


if __name__ == "__main__":
    main()
