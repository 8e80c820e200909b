"""Commands on devices."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offramp.cli._options import Classes, Input, SpaceOptions, shape, space_options
from offramp.cli._print import print_line

if TYPE_CHECKING:
    from offramp.architecture import Architecture
    from offramp.layers import Layer
    from offramp.spaces import SearchSpace

devices = typer.Typer(add_completion=False, rich_markup_mode=None, help="List the hardware descriptions known.")


@devices.callback(invoke_without_command=True)
def listed(context: typer.Context) -> None:
    """List the hardware descriptions known."""
    if context.invoked_subcommand is not None:
        return
    from offramp.cost import DEVICES, DeviceModel, NpuModel

    for device in DEVICES.values():
        needs = ""
        if isinstance(device.model, NpuModel):
            needs = " (needs offramp[ethos])"
        elif isinstance(device.model, DeviceModel) and not device.model.table.rows:  # none came along or was computed
            needs = " (needs offramp[zigzag])"
        print_line(f"{device.name:20} {device.about}{needs}")


@devices.command()
def build(
    name: Annotated[str, typer.Argument(help="A name that `offramp devices` lists, or a device's .toml file.")],
    space: Annotated[str, typer.Option(help="The search space whose layers are wanted.")] = "offramp",
    set: SpaceOptions = None,
    input: Input = "3x32x32",
    classes: Classes = 10,
    samples: Annotated[int, typer.Option(help="Random networks that bring no new layer, at the end.", min=1)] = 2000,
    workers: Annotated[int | None, typer.Option(help="Processes; default: one per core.", min=1)] = None,
    on_chip_only: Annotated[
        bool, typer.Option("--on-chip-only", help="A quarter of the work: no placements off chip.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The table's file; default: in the cache folder.")] = None,
) -> None:
    """Compute the layer table of a device for a search space, with ZigZag; what is already known is kept."""
    from offramp.cost import build_table, describe
    from offramp.spaces import space as find_space

    found = find_space(space, shape(input), classes, **space_options(space, set or ()))
    made = build_table(describe(name), _layers(found, samples).values(), workers, on_chip_only, out)
    print_line(f"{made.path}: {made.computed:,} entries computed, {made.entries:,} in all")


@devices.command()
def measure(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="Where to; what was measured before is kept.")],
    space: Annotated[str, typer.Option(help="The search space whose layers are wanted.")] = "offramp",
    set: SpaceOptions = None,
    input: Input = "3x32x32",
    classes: Classes = 10,
    samples: Annotated[int, typer.Option(help="Random networks that bring no new layer, at the end.", min=1)] = 1000,
    networks: Annotated[int, typer.Option(help="Whole networks that are measured beside.", min=8)] = 16,
    threads: Annotated[int, typer.Option(help="Of ONNX Runtime.", min=1)] = 1,
) -> None:
    """Measure a search space's layers under ONNX Runtime on this machine; FILE.toml is then a device of latencies.

    Half of the whole networks set what a call and an exit take, the other half tell how far it can be trusted. A file
    that is there gets the layers that it lacks. Leave the machine alone meanwhile.
    """
    from offramp.export.measure import measure_device
    from offramp.spaces import space as find_space

    if file.suffix != ".toml":
        raise ValueError(f"FILE.toml is {str(file)!r}; its name must end in .toml, as a device's does")
    found = find_space(space, shape(input), classes, **space_options(space, set or ()))
    drawn = [found.sample(seed) for seed in range(networks)]
    made, agrees = measure_device(file, _layers(found, samples).values(), drawn, threads=threads)
    print_line(
        f"{file}: {len(made.layers):,} layers; {made.start_ms:.3f} ms a call, {made.exit_ms:.3f} ms an exit. At "
        f"{agrees.exits} exits of other networks it is {agrees.error:.0%} off in the mean; Kendall's tau "
        f"{agrees.tau:.2f}, of MACs {agrees.tau_macs:.2f}"
    )


def _layers(space: SearchSpace, samples: int) -> dict[Any, Layer]:
    """The layers of the networks that cover a space, of its smallest and largest, and of random ones; by geometry.

    Random ones are drawn until `samples` of them in a row have brought nothing new.
    """
    found: dict[Any, Layer] = {}
    for network in (*space.cover(), space.smallest(), space.largest()):
        found |= _of(network)
    idle, seeds = 0, count()
    while idle < samples:
        more = _of(space.sample(next(seeds)))
        idle = idle + 1 if more.keys() <= found.keys() else 0
        found |= more
    return found


def _of(network: Architecture) -> dict[Any, Layer]:
    """By geometry, the layers of a network, and of what is left of it where its last exits are dropped."""
    from offramp.layers import layers

    # A new final exit has no gate, so its classifier is another layer.
    cut = [network.with_exits(network.exits[:kept]) for kept in range(1, len(network.exits))] if network.gated else []
    return {
        layer[1:]: layer  # apart from their names
        for one in (network, *cut)
        for stage in layers(one)
        for layer in (*stage.backbone, *stage.branch)
    }
