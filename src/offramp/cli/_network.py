"""Commands on delivered networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offramp.cli._cost import print_cost
from offramp.cli._options import Delivered, Json, numbers
from offramp.cli._print import mega, percent, percents, print_json, print_line, print_table
from offramp.run_folder import delivered_file, read_json

if TYPE_CHECKING:
    from offramp.data import Split, Task
    from offramp.export import Model


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
    from offramp.tflite import check_bits

    if device is not None and not isinstance(find_device(device).model, NpuModel):
        raise ValueError(f"--device is {device!r}, no NPU; `offramp devices` lists those there are")
    delivered_file(folder, "architecture.json")
    net, policy = load(folder)
    check_bits(net.architecture)  # before images are asked for
    task = _task(folder)
    made = export_tflite(net, policy, tflite, classes=task.classes, images=task.train.images)
    if device is not None:
        files = [
            (tflite / stage["file"]).read_bytes() for stage in json.loads(made.read_text(encoding="utf-8"))["stages"]
        ]
        print_cost(device, cost_of(net.architecture, device, files))
    print_line(f"Stages: {made}")


def quantize(
    folder: Delivered,
    bits: Annotated[str, typer.Option(help="2 to 8; or two numbers, of backbone and branches, such as 8,4.")] = "8",
    epochs: Annotated[int, typer.Option(help="Of training at these bits; 0: calibrated only.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Deliver a network that is there in float at few bits, beside it: DIR/chosen/NAME-8-8."""
    from offramp.few_bits import quantize_delivered

    wanted = "2 to 8, or two such numbers (32 for float), of backbone and branches, such as 8,4"
    pair = [int(x) for x in numbers("--bits", bits, wanted) if x in (*range(2, 9), 32)]
    if len(pair) != bits.count(",") + 1 or len(pair) > 2:
        raise ValueError(f"--bits is {bits!r}; it must be {wanted}")
    there, metrics = quantize_delivered(folder, pair[0], pair[-1], epochs)
    if as_json:
        print_json({"folder": str(there), **metrics})
        return
    rows = [_quantized_row("float", folder), _quantized_row(f"{pair[0]}/{pair[-1]}", there)]
    print_table(
        f"backbone/branches, test, n = {metrics['splits']['test']}",
        ["bits", "accuracy", "mean MMACs", "final exit", "model.onnx, KiB"],
        rows,
    )
    print_line(f"Network: {there}")


def _quantized_row(bits: str, folder: Path) -> list[str]:
    metrics, file = read_json(folder / "metrics.json"), folder / "model.onnx"
    size = f"{file.stat().st_size / 1024:,.0f}" if file.exists() else "-"
    accuracies = [percent(metrics[key]) for key in ("test_accuracy", "static_accuracy")]
    return [bits, accuracies[0], mega(metrics["mean_macs"]), accuracies[1], size]


def evaluate(
    folder: Delivered,
    data: Annotated[str, typer.Option(help="A split of the run, a folder of class folders, or an .npz.")] = "test",
    as_json: Json = False,
) -> None:
    """Show accuracy, utilisation and mean cost of a delivered network on a split or on other labelled images."""
    from offramp.deliver import load
    from offramp.evaluate import evaluate as evaluate_on

    described = delivered_file(folder, "metrics.json")
    net, policy = load(folder)
    metrics = read_json(described, ("splits", "classes", "mac_rule"))
    images = _images(data, folder, metrics, net.architecture.input)
    found = evaluate_on(net, policy, images, metrics["mac_rule"])
    if as_json:
        print_json({"data": data, **found})
    else:
        _print_evaluated(found)


def tune(
    folder: Delivered,
    mean_macs: Annotated[float | None, typer.Option(help="Most mean MACs.", min=0)] = None,
    mean_energy_mj: Annotated[float | None, typer.Option(help="Most mean energy on the device, mJ.", min=0)] = None,
    mean_latency_ms: Annotated[float | None, typer.Option(help="Most mean latency on the device, ms.", min=0)] = None,
    et_avg: Annotated[float | None, typer.Option(help="Most mean energy x latency, J x cycles.", min=0)] = None,
    accuracy: Annotated[
        float | None, typer.Option(help="Least accuracy, 0 to 1, at fewest MACs.", min=0, max=1)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a delivered network's best thresholds for another budget, tuned on the select split of its run."""
    from offramp.operating_point import operating_point

    budgets = {
        "mean_macs": mean_macs, "mean_energy_mj": mean_energy_mj, "mean_latency_ms": mean_latency_ms, "et_avg": et_avg,
    }  # fmt: skip
    given = {name: most for name, most in budgets.items() if most is not None}
    if len(given) + (accuracy is not None) != 1:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in (*budgets, "accuracy"))
        raise ValueError(f"give one of {options}")
    metric, most = next(iter(given.items()), ("mean_macs", None))
    found = operating_point(folder, metric, most, accuracy)
    if as_json:
        print_json(found)
    else:
        _print_tuned(found, f"accuracy >= {accuracy:g}" if accuracy is not None else f"{metric} <= {most:g}")


def guarantee(
    folder: Delivered,
    lost: Annotated[
        float | None,
        typer.Option(help="Share of images, within 0 to 1, that may be answered wrongly where the last exit is right."),
    ] = None,
    accuracy: Annotated[float | None, typer.Option(help="Least accuracy, within 0 to 1.")] = None,
    confidence: Annotated[float, typer.Option(help="That the promise holds, within 0 to 1.")] = 0.95,
    as_json: Json = False,
) -> None:
    """Show what a delivered network's thresholds promise on images that nothing was set on: its calibrate split.

    With --lost or --accuracy: the cheapest thresholds that promise that.
    """
    from offramp.operating_point import guaranteed_point, promise

    for name, share in (("lost", lost), ("accuracy", accuracy), ("confidence", confidence)):
        if share is not None and not 0 < share < 1:
            raise ValueError(f"--{name} is {share:g}; it must lie between 0 and 1")
    if lost is not None and accuracy is not None:
        raise ValueError(f"--lost is {lost:g} and --accuracy {accuracy:g}; give one of them")
    if lost is None and accuracy is None:
        held = promise(folder, confidence)
        (print_json if as_json else _print_promised)(held)
        return
    found = guaranteed_point(folder, lost=lost, accuracy=accuracy, confidence=confidence)
    (print_json if as_json else _print_guaranteed)(found)


def predict(
    model: Annotated[Path, typer.Argument(help="A model.onnx, or DIR/chosen/NAME of a run.")],
    images: Annotated[list[Path], typer.Argument(help="Image files, and folders of them.")],
    thresholds: Annotated[
        str | None, typer.Option(help="For the early exits, such as 0.5,0.6, instead of the file's own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show class, exit taken and confidence for image files; needs no torch."""
    from offramp.data import ImageError, image_files, unreadable
    from offramp.export.predict import Model

    loaded = Model(delivered_file(model, "model.onnx") if model.is_dir() else model)
    limits = None if thresholds is None else _limits(thresholds, loaded)
    files = [file for given in images for file in (image_files(given) if given.is_dir() else [given])]
    found: list[dict[str, Any]] = []
    errors: list[ImageError] = []
    for file in files:
        try:
            found.append({"image": str(file), **loaded.predict(file, limits)._asdict()})
        except ImageError as error:
            found.append({"image": str(file), "error": error.reason})
            errors.append(error.bare())
    (print_json if as_json else _print_predicted)(found)
    if errors:
        raise unreadable(errors, len(files))


def _limits(text: str, model: Model) -> list[float]:
    """What `--thresholds` says."""
    own = model.policy.thresholds
    if not own:
        raise ValueError(f"--thresholds is {text!r}, but {model.path} has no early exit; leave it out")
    needed = f"{len(own)} in all, one for each early exit of {model.path}"
    shown = ",".join(f"{threshold:.9g}" for threshold in own)
    wanted = f"numbers (inf: nobody leaves there) with commas between, {needed} (its own: {shown})"
    return numbers("--thresholds", text, wanted, len(own), infinite=True)


def _print_predicted(found: list[dict[str, Any]]) -> None:
    """A table of those that could be read, if any."""
    read = [f for f in found if "error" not in f]
    rows = [[f["image"], f["class_name"], f["exit"], percent(f["confidence"])] for f in read]
    if rows:
        print_table(None, ["image", "class", f"exit, 0 to {read[0]['exits'] - 1}", "confidence"], rows)


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


def _print_tuned(found: dict[str, Any], goal: str) -> None:
    metric = found["metric"]
    rows = [
        [split, f"{told['n']:,}", percent(told["accuracy"]), f"{told[metric]:,.6g}", percents(told["utilisation"])]
        for split, told in (("select", found["select"]), ("test", found["test"]))
    ]
    unit = f"{metric} ({found['mac_rule']})" if metric == "mean_macs" else metric
    print_table(f"best for {goal}, {found['measure']}", ["split", "n", "accuracy", unit, "utilisation"], rows)
    if not found["feasible"]:
        print_line(f"No thresholds reach {goal} on select; these come nearest.")
    shown = ",".join(f"{float(threshold):.9g}" for threshold in found["thresholds"])
    print_line(f"offramp predict ... --thresholds {shown}")


def _print_promised(held: dict[str, Any]) -> None:
    n, confidence = held["n"], held["confidence"]
    print_line(f"With {confidence:g} confidence each, from {n:,} images of the calibrate split, of images like them")
    print_line(f"  at most {held['error_at_most']:.2%} are answered wrongly;")
    print_line(f"  at most {held['lost_at_most']:.2%} are answered wrongly where the last exit is right.")


def _print_guaranteed(found: dict[str, Any]) -> None:
    loss, metric, most = found["loss"], found["metric"], found["most"]
    wanted = f"at most {most:.2%} lost" if loss == "lost" else f"accuracy >= {1 - most:.2%}"
    if found["thresholds"] is None:
        print_line(
            f"No thresholds promise {wanted} with {found['confidence']:g} confidence: ask for less, or keep more "
            "images for it (data.calibrate)."
        )
        return
    rows = [
        [split, f"{told['n']:,}", percent(told["accuracy"]), f"{told[loss]:.2%}", f"{told[metric]:,.6g}",
         percents(told["utilisation"])]
        for split, told in ((name, found[name]) for name in ("select", "calibrate", "test"))
    ]  # fmt: skip
    unit = f"{metric} ({found['mac_rule']})" if metric == "mean_macs" else metric
    title = f"{wanted}, with {found['confidence']:g} confidence; {found['measure']}"
    print_table(title, ["split", "n", "accuracy", loss, unit, "utilisation"], rows)
    shown = ",".join(f"{float(threshold):.9g}" for threshold in found["thresholds"])
    print_line(f"offramp predict ... --thresholds {shown}")


def _print_evaluated(found: dict[str, Any]) -> None:
    title = f"{found['accuracy']:.2%} at {mega(found['mean_macs'])} mean MMACs ({found['mac_rule']}); n = {found['n']}"
    exits = zip(found["utilisation"], found["accuracy_of_leavers"], found["exit_accuracy"])
    rows = [
        [e, percent(share), "-" if leavers is None else percent(leavers), percent(everyone)]
        for e, (share, leavers, everyone) in enumerate(exits)
    ]
    print_table(title, ["exit", "share", "accuracy of those", "accuracy on all"], rows)
