"""Commands on delivered networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offramp.cli._cost import print_cost
from offramp.cli._options import Delivered, Json
from offramp.cli._print import mega, percent, print_json, print_line, print_table
from offramp.run_folder import read_json

if TYPE_CHECKING:
    from offramp.data import Split, Task


def export(
    folder: Delivered,
    tflite: Annotated[Path, typer.Option(help="The folder for the files; made where it is missing.", file_okay=False)],
    device: Annotated[str | None, typer.Option(help="An NPU of `offramp devices`: show their cost on it.")] = None,
) -> None:
    """Write every stage of a delivered 8-bit network as a TFLite file, for NPUs."""
    from offramp.cost import NpuModel
    from offramp.cost import cost as cost_of
    from offramp.cost import device as find_device
    from offramp.deliver import load
    from offramp.export import export_tflite

    if device is not None and not isinstance(find_device(device).model, NpuModel):
        raise ValueError(f"--device is {device!r}, no NPU; `offramp devices` lists those there are")
    net, policy = load(folder)
    task = _task(folder)
    made = export_tflite(net, policy, tflite, classes=task.classes, images=task.train.images)
    if device is not None:
        files = [(tflite / stage["file"]).read_bytes() for stage in json.loads(made.read_text())["stages"]]
        print_cost(device, cost_of(net.architecture, device, files))
    print_line(f"Stages: {made}")


def evaluate(
    folder: Delivered,
    data: Annotated[str, typer.Option(help="A split of the run, a folder of class folders, or an .npz.")] = "test",
    as_json: Json = False,
) -> None:
    """Show accuracy, utilisation and mean cost of a delivered network on a split or on other labelled images."""
    from offramp.deliver import load
    from offramp.evaluate import evaluate as evaluate_on

    net, policy = load(folder)
    metrics = read_json(folder / "metrics.json", ("splits", "classes", "mac_rule"))
    images = _images(data, folder, metrics, net.architecture.input)
    found = evaluate_on(net, policy, images, metrics["mac_rule"])
    if as_json:
        print_json({"data": data, **found})
    else:
        _print_evaluated(found)


def predict(
    model: Annotated[Path, typer.Argument(help="A model.onnx.")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    as_json: Json = False,
) -> None:
    """Show class, exit taken and confidence for image files; needs no torch."""
    from offramp.export.predict import Model

    loaded = Model(model)
    found = [{"image": str(image), **loaded.predict(image)._asdict()} for image in images]
    if as_json:
        print_json(found)
        return
    rows = [[f["image"], f["class_name"], f"{f['exit']} of {f['exits']}", percent(f["confidence"])] for f in found]
    print_table(None, ["image", "class", "exit", "confidence"], rows)


def _images(data: str, folder: Path, metrics: dict[str, Any], input: tuple[int, int, int]) -> Split:
    """What `--data` says."""
    from offramp.data import read_split

    if data in metrics["splits"]:
        return _task(folder).splits[data]
    if Path(data).exists():
        return read_split(Path(data), metrics["classes"], input)
    raise FileNotFoundError(f"--data is {data!r}; it must be a split ({', '.join(metrics['splits'])}) or a path")


def _task(folder: Path) -> Task:
    """The data of the run that delivered the network in `folder`."""
    from offramp.pipeline import Run

    return Run.stored(folder.resolve().parents[1]).task


def _print_evaluated(found: dict[str, Any]) -> None:
    title = f"{found['accuracy']:.2%} at {mega(found['mean_macs'])} mean MMACs ({found['mac_rule']}); n = {found['n']}"
    exits = zip(found["utilisation"], found["accuracy_of_leavers"], found["exit_accuracy"])
    rows = [
        [e, percent(share), "-" if leavers is None else percent(leavers), percent(everyone)]
        for e, (share, leavers, everyone) in enumerate(exits)
    ]
    print_table(title, ["exit", "share", "accuracy of those", "accuracy on all"], rows)
