"""The command line: parses, calls, prints."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

# Read when torch is loaded. Waiting threads that spin starve whatever else runs on the same cores, and a supernet has
# more convolution shapes than oneDNN keeps by default.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "20000")

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from offramp.architecture import Architecture
    from offramp.cost import NetworkCost

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Designs early-exit neural networks: searches, trains, calibrates, exports.",
)  # fmt: skip
_out = Console()
_err = Console(stderr=True)

_devices = typer.Typer(add_completion=False, rich_markup_mode=None, help="List the hardware descriptions known.")
app.add_typer(_devices, name="devices")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Folder = Annotated[Path, typer.Argument(help="A run's folder.", exists=True, file_okay=False)]


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A recipe's file, or the name of one that `offramp recipes` lists.")],
    out: Annotated[Path | None, typer.Option(help="The run's folder; default runs/NAME.")] = None,
    set: Annotated[list[str] | None, typer.Option(help="Override a value: section.key=value. May be repeated.")] = None,
) -> None:
    """Carry out a recipe. Started again on the same folder, it goes on where it stopped."""
    from offramp.recipe import find

    path = find(recipe)
    folder = out or Path("runs") / path.stem
    from offramp.pipeline import run as carry_out

    try:
        made = carry_out(path, folder, set or ())
    except KeyboardInterrupt:
        _err.print("Stopped. The same command goes on from here.")
        raise typer.Exit(130) from None
    _print_delivered(made.folder.delivered())
    _out.print(f"Report: {made.folder.report}", highlight=False)


@app.command()
def recipes() -> None:
    """List the recipes that come with Offramp."""
    from offramp.recipe import shipped

    for name, path in shipped().items():
        about = [line.lstrip("# ").rstrip() for line in path.read_text().splitlines() if line.startswith("#")]
        about = [line for line in about if line and not line.startswith("offramp run")]
        _out.print(f"{name:24} {about[0] if about else ''}", highlight=False, soft_wrap=True)


@app.command()
def init(name: Annotated[str, typer.Argument(help="A name that `offramp recipes` lists.")]) -> None:
    """Print a recipe, to be edited: offramp init NAME > my.toml."""
    from offramp.recipe import find

    sys.stdout.write(find(name).read_text())


@app.command()
def validate(
    recipe: Annotated[str, typer.Argument(help="A recipe's file or name.")],
    set: Annotated[list[str] | None, typer.Option(help="Override a value: section.key=value.")] = None,
) -> None:
    """Report every mistake of a recipe, by its path."""
    from offramp.recipe import Recipe, find

    Recipe.load(find(recipe), set or ())
    _out.print(f"{recipe}: no mistakes found", highlight=False)


@app.command()
def front(folder: Folder, as_json: Json = False) -> None:
    """Show the Pareto front of a run."""
    path = folder / "front.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: the search has not ended. Start `offramp run` again to go on.")
    stored = json.loads(path.read_text())
    trials = [t for t in stored["trials"] if t["front"] and t["study"] == "search"]
    trials.sort(key=lambda t: [t["metrics"][name] for name in stored["objectives"]][::-1])
    if as_json:
        _print_json(
            {**{k: stored[k] for k in ("objectives", "constraints", "mac_rule", "split", "n")}, "front": trials}
        )
        return
    where = f"{stored['evaluator']} on {stored['split']} (n = {stored['n']}), MACs {stored['mac_rule']}"
    measured = _on_device([t["metrics"] for t in trials], ("mean_energy_mj", "mean_latency_ms", "et_avg"))
    rows = [
        [t["number"], _percent(m["accuracy"]), _mega(m["mean_macs"]), _mega(m["full_macs"]), f"{m['params']:,.0f}",
         *(f"{m[name]:.4g}" for name in measured), " / ".join(f"{share:.0%}" for share in t["utilisation"])]
        for t, m in ((t, t["metrics"]) for t in trials)
    ]  # fmt: skip
    _print_table(
        f"{len(trials)} networks; {where}",
        ["trial", "accuracy", "mean MMACs", "full MMACs", "params", *measured.values(), "utilisation"],
        rows,
    )


@app.command()
def cost(
    architecture: Annotated[Path, typer.Argument(help="An architecture.json.", exists=True, dir_okay=False)],
    device: Annotated[str, typer.Option(help="A name that `offramp devices` lists, or a .toml file.")] = "analytic",
    map: Annotated[str | None, typer.Option(help="Map to the device's cores; branches `wait` or `speculate`.")] = None,
    objective: Annotated[
        str | None, typer.Option(help="With --map, what is least: energy, latency or et (default).")
    ] = None,
    shares: Annotated[str | None, typer.Option(help="With --map: leaving at each exit, such as 0.6,0.4.")] = None,
    as_json: Json = False,
) -> None:
    """Show MACs, parameters, memory, latency and energy per stage and exit; with --map, those of the mapped network."""
    from offramp.architecture import Architecture
    from offramp.cost import MAC_RULES
    from offramp.cost import cost as cost_of

    if map is not None:
        _print_mapping(Architecture.load(architecture), device, map, objective or "et", _shares(shares), as_json)
        return
    for option, value in (("--objective", objective), ("--shares", shares)):
        if value is not None:
            raise ValueError(f"{option} is {value!r}, but there is no --map; give --map wait or --map speculate")
    found = cost_of(Architecture.load(architecture), device)
    if as_json:
        leaving = {rule: found.leaving("macs", rule) for rule in MAC_RULES}
        branches = [b._asdict() if b else None for b in found.branches]
        stages = [{"stage": s._asdict(), "branch": b} for s, b in zip(found.stages, branches)]
        total = found.total._asdict()
        record = {"device": device, "stages": stages, "total": total, "macs_by_exit": leaving}
        for metric in ("latency_ms", "energy_mj"):
            if getattr(found.total, metric) > 0:
                record[f"{metric}_by_exit"] = {rule: found.leaving(metric, rule) for rule in MAC_RULES}
        _print_json(record)
        return
    _print_cost(device, found)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="DIR/chosen/NAME of a run.", exists=True, file_okay=False)],
    tflite: Annotated[Path, typer.Option(help="The folder for the files; made where it is missing.", file_okay=False)],
    device: Annotated[str | None, typer.Option(help="An NPU of `offramp devices`: show their cost on it.")] = None,
) -> None:
    """Write every stage of a delivered 8-bit network as a TFLite file, for NPUs."""
    from offramp.cost import NpuModel
    from offramp.cost import cost as cost_of
    from offramp.cost import device as find_device
    from offramp.deliver import load
    from offramp.export import export_tflite
    from offramp.pipeline import Run

    if device is not None and not isinstance(find_device(device).model, NpuModel):
        raise ValueError(f"--device is {device!r}, no NPU; `offramp devices` lists those there are")
    net, policy = load(folder)
    task = Run.stored(folder.resolve().parents[1]).task
    made = export_tflite(net, policy, tflite, classes=task.classes, images=task.train.images)
    if device is not None:
        files = [(tflite / stage["file"]).read_bytes() for stage in json.loads(made.read_text())["stages"]]
        _print_cost(device, cost_of(net.architecture, device, files))
    _out.print(f"Stages: {made}", highlight=False, soft_wrap=True)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="DIR/chosen/NAME of a run.", exists=True, file_okay=False)],
    data: Annotated[str, typer.Option(help="A split of the run, a folder of class folders, or an .npz.")] = "test",
    as_json: Json = False,
) -> None:
    """Show accuracy, utilisation and mean cost of a delivered network on a split or on other labelled images."""
    from offramp.cost import cost as cost_of
    from offramp.data import read_split
    from offramp.deliver import load
    from offramp.pipeline import Run
    from offramp.policy import operate
    from offramp.training import score

    net, policy = load(folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    if data in metrics["splits"]:
        split = Run.stored(folder.resolve().parents[1]).task.splits[data]
    elif Path(data).exists():
        split = read_split(Path(data), metrics["classes"], net.architecture.input)
    else:
        raise FileNotFoundError(f"--data is {data!r}; it must be a split ({', '.join(metrics['splits'])}) or a path")
    table = score(net, split)
    found = operate(policy, table, cost_of(net.architecture).leaving("macs", metrics["mac_rule"]))
    record = {
        "data": data, "n": len(split), "accuracy": found.accuracy, "mean_macs": found.mean_cost,
        "mac_rule": metrics["mac_rule"], "utilisation": list(found.utilisation),
        "exit_accuracy": [float(a) for a in table.exit_accuracy], "accuracy_of_leavers": list(found.exit_accuracy),
    }  # fmt: skip
    if as_json:
        _print_json(record)
        return
    title = f"{found.accuracy:.2%} at {_mega(found.mean_cost)} mean MMACs ({metrics['mac_rule']}); n = {len(split)}"
    rows = [
        [e, _percent(share), "-" if left is None else _percent(left), _percent(all_)]
        for e, (share, left, all_) in enumerate(zip(found.utilisation, found.exit_accuracy, table.exit_accuracy))
    ]
    _print_table(title, ["exit", "share", "accuracy of those", "accuracy on all"], rows)


@app.command()
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
        _print_json(found)
        return
    rows = [[f["image"], f["class_name"], f"{f['exit']} of {f['exits']}", _percent(f["confidence"])] for f in found]
    _print_table(None, ["image", "class", "exit", "confidence"], rows)


@app.command()
def sample(
    name: Annotated[str, typer.Argument(metavar="SPACE", help="A search space.")],
    seed: Annotated[int, typer.Option(help="Of the random choice.")] = 0,
    smallest: Annotated[bool, typer.Option("--smallest", help="The one with the fewest MACs.")] = False,
    largest: Annotated[bool, typer.Option("--largest", help="The one with the most.")] = False,
    input: Annotated[str, typer.Option(help="Channels x height x width.")] = "3x32x32",
    classes: Annotated[int, typer.Option(help="Number of classes.", min=2)] = 10,
) -> None:
    """Print an architecture of a space, as JSON."""
    from offramp.spaces import space

    if smallest and largest:
        raise ValueError("--smallest and --largest exclude each other; give one of them, or neither for a random one")
    found = space(name, _shape(input), classes)
    architecture = found.smallest() if smallest else found.largest() if largest else found.sample(seed)
    sys.stdout.write(architecture.to_json(indent=1) + "\n")


@_devices.callback(invoke_without_command=True)
def devices(context: typer.Context) -> None:
    """List the hardware descriptions known."""
    if context.invoked_subcommand is not None:
        return
    from offramp.cost import DEVICES

    for device in DEVICES.values():
        _out.print(f"{device.name:20} {device.about}", highlight=False, soft_wrap=True)


@_devices.command()
def build(
    name: Annotated[str, typer.Argument(help="A name that `offramp devices` lists, or a device's .toml file.")],
    space: Annotated[str, typer.Option(help="The search space whose layers are wanted.")] = "offramp",
    set: Annotated[list[str] | None, typer.Option(help="An option of the space: key=value (TOML).")] = None,
    input: Annotated[str, typer.Option(help="Channels x height x width.")] = "3x32x32",
    classes: Annotated[int, typer.Option(help="Number of classes.", min=2)] = 10,
    samples: Annotated[int, typer.Option(help="Networks that the layers are collected from.", min=1)] = 2000,
    workers: Annotated[int | None, typer.Option(help="Processes; default: one per core.", min=1)] = None,
    on_chip_only: Annotated[
        bool, typer.Option("--on-chip-only", help="A quarter of the work: no placements off chip.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The table's file; default: in the cache folder.")] = None,
) -> None:
    """Compute the layer table of a device for a search space, with ZigZag; what is already known is kept."""
    import tomllib

    from offramp.cost import build_table, describe
    from offramp.layers import layers
    from offramp.spaces import space as find_space

    options = tomllib.loads("\n".join(set or ()))
    found = find_space(space, _shape(input), classes, **options)
    networks = [*found.cover(), found.smallest(), found.largest(), *(found.sample(seed) for seed in range(samples))]
    needed = {
        layer[1:]: layer
        for network in networks
        for stage in layers(network)
        for layer in (*stage.backbone, *stage.branch)
    }
    made = build_table(describe(name), needed.values(), workers, on_chip_only, out)
    line = f"{made.path}: {made.computed:,} entries computed, {made.entries:,} in all"
    _out.print(line, highlight=False, soft_wrap=True)


def _shape(text: str) -> tuple[int, int, int]:
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"--input is {text!r}; it must be CHANNELSxHEIGHTxWIDTH, such as 3x32x32")
    return int(parts[0]), int(parts[1]), int(parts[2])


def _print_delivered(folders: list[Path]) -> None:
    found = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
    if not found:
        return
    measured = _on_device(found, ("energy_mj", "latency_ms", "et_avg"))
    rows = [
        [folder.name, m["kind"], _percent(m["test_accuracy"]), _mega(m["mean_macs"]),
         *(f"{m[name]:.4g}" for name in measured), " / ".join(f"{share:.0%}" for share in m["utilisation"]), m["seed"]]
        for folder, m in zip(folders, found)
    ]  # fmt: skip
    where = f" on {found[0]['device']}" if measured else ""
    title = f"test split (n = {found[0]['splits']['test']}), MACs {found[0]['mac_rule']}{where}"
    columns = ["network", "kind", "accuracy", "mean MMACs", *measured.values(), "utilisation", "seed"]
    _print_table(title, columns, rows)


def _on_device(records: list[dict[str, Any]], names: tuple[str, str, str]) -> dict[str, str]:
    """Those of energy, latency and their product that every record has, with the heads of their columns."""
    heads = zip(names, ("mean mJ", "mean ms", "ET_avg, J x cycles"))
    return {name: head for name, head in heads if records and all(name in record for record in records)}


def _shares(text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--shares is {text!r}; it must be numbers such as 0.6,0.4, one for each exit") from None


def _print_mapping(
    architecture: Architecture, device: str, mode: str, objective: str, shares: list[float] | None, as_json: bool
) -> None:
    from offramp.cost import backbone_alone, map_network

    found = map_network(architecture, device, mode, objective, shares)  # type: ignore[arg-type]  # checked there
    references = {
        "backbone alone": backbone_alone(architecture, device, found.objective),
        "all exits, full depth": found.full_depth,
    }
    exits = list(zip(architecture.exits, found.latency_ms, found.energy_mj, found.overhead_mj))
    given = shares or [1 / len(exits)] * len(exits)
    means = {
        "shares": given, "mean_latency_ms": found.mean_latency(given), "mean_energy_mj": found.mean_energy(given),
        "exit_overhead_mj": found.mean_overhead(given), "et_avg": found.et(given),
        "et_of_means": found.et_of_means(given),
    }  # fmt: skip
    if as_json:
        names = ("device", "cores", "mode", "objective", "clock_mhz", "energy_mj", "latency_ms", "overhead_mj")
        own = ("stage_energy_mj", "stage_latency_ms")
        record = {name: getattr(found, name) for name in (*names, *own)}
        static = {name: reference._asdict() for name, reference in references.items()}
        _print_json({**record, **means, "static": static, "runs": [run._asdict() for run in found.runs]})
        return
    rows = [
        [f"exit {k} (stage {stage})", f"{given[k]:.1%}", f"{ms:.4f}", f"{mj * 1e3:.2f}", f"{wasted * 1e3:.2f}",
         f"{ms * mj * found.clock_mhz:.2f}"]
        for k, (stage, ms, mj, wasted) in enumerate(exits)
    ]  # fmt: skip
    rows.append(
        ["mean", "", f"{means['mean_latency_ms']:.4f}", f"{found.mean_energy(given) * 1e3:.2f}",
         f"{found.mean_overhead(given) * 1e3:.2f}", f"{found.et(given):.2f}"]
    )  # fmt: skip
    rows.append(["mean energy x mean latency", "", "", "", "", f"{found.et_of_means(given):.2f}"])
    for name, r in references.items():
        rows.append([f"static: {name}", "", f"{r.latency_ms:.4f}", f"{r.energy_mj * 1e3:.2f}", "", f"{r.et:.2f}"])
    title = f"{found.device}, {found.cores} cores, {found.mode}, least {found.objective}"
    _print_table(title, ["leaving at", "share", "ms", "uJ", "overhead uJ", "ET (J x cycles)"], rows)
    rows = []
    for run in found.runs:
        part = f"stage {run.stage}" if run.exit is None else f"  exit {run.exit}"
        cores = " ".join(map(str, run.cores))
        rows.append([part, run.layer, cores, run.split, f"{run.start:,.0f}", f"{run.end:,.0f}"])
    _print_table("where each layer runs, in cycles", ["part", "layer", "cores", "split", "from", "to"], rows)


def _print_table(title: str | None, columns: list[str], rows: list[list[Any]]) -> None:
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*map(str, row))
    _out.print(table)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def _print_cost(device: str, found: NetworkCost) -> None:
    from offramp.cost import MAC_RULES

    leaving = {rule: found.leaving("macs", rule) for rule in MAC_RULES}
    rows, number, timed = [], 0, found.total.latency_ms > 0
    for i, (stage, branch) in enumerate(zip(found.stages, found.branches)):
        rows.append([f"stage {i}", *_cost_cells(stage, timed), "", ""])
        if branch is not None:
            upto = (_mega(leaving[rule][number]) for rule in MAC_RULES)
            rows.append([f"  exit {number}", *_cost_cells(branch, timed), *upto])
            number += 1
    rows.append(["all", *_cost_cells(found.total, timed), "", ""])
    columns = ["part", "MMACs", "params", "weights KiB", "activations KiB", *(["ms", "uJ"] if timed else [])]
    _print_table(f"device: {device}", [*columns, *(f"up to exit ({rule})" for rule in MAC_RULES)], rows)


def _cost_cells(found: Any, timed: bool) -> list[str]:
    kib = [f"{size / 1024:.1f}" for size in (found.weight_bytes, found.activation_bytes)]
    energy = f"{found.energy_mj * 1e3:.2f}" if found.energy_mj > 0 else "-"
    device = [f"{found.latency_ms:.4f}", energy] if timed else []
    return [_mega(found.macs), f"{found.params:,}", *kib, *device]


def _mega(macs: float) -> str:
    return f"{macs / 1e6:.3f}"


def _percent(share: float) -> str:
    return f"{share:.2%}"


def main() -> None:
    """Run the command line; errors that a user can mend end with their message, not with a traceback."""
    try:
        app()
    except (ValueError, OSError, RuntimeError) as error:
        if os.environ.get("OFFRAMP_TRACEBACK"):
            raise
        _err.print("[red]error:[/red]", end=" ")
        _err.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
