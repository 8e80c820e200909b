"""Commands on architectures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from offramp.cli._cost import print_cost, print_cost_json
from offramp.cli._mapping import print_mapping, print_mapping_json
from offramp.cli._options import Classes, Input, Json, SpaceOptions, numbers, shape, space_options
from offramp.run_folder import delivered_file

_SHARES = "numbers such as 0.6,0.4, one for each exit"


def sample(
    name: Annotated[str, typer.Argument(metavar="SPACE", help="A search space.")],
    seed: Annotated[int, typer.Option(help="Of the random choice.", min=0)] = 0,
    smallest: Annotated[bool, typer.Option("--smallest", help="The one with the fewest MACs.")] = False,
    largest: Annotated[bool, typer.Option("--largest", help="The one with the most.")] = False,
    input: Input = "3x32x32",
    classes: Classes = 10,
    set: SpaceOptions = None,
) -> None:
    """Print an architecture of a space, as JSON."""
    from offramp.spaces import space

    if smallest and largest:
        raise ValueError("--smallest and --largest exclude each other; give one of them, or neither for a random one")
    found = space(name, shape(input), classes, **space_options(name, set or ()))
    architecture = found.smallest() if smallest else found.largest() if largest else found.sample(seed)
    sys.stdout.write(architecture.to_json(indent=1) + "\n")


def cost(
    architecture: Annotated[
        Path, typer.Argument(help="An architecture.json, or DIR/chosen/NAME of a run.", exists=True)
    ],
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

    path = delivered_file(architecture, "architecture.json") if architecture.is_dir() else architecture
    if map is not None:
        show = print_mapping_json if as_json else print_mapping
        leaving = None if shares is None else numbers("--shares", shares, _SHARES)
        show(Architecture.load(path), device, map, objective or "et", leaving)
        return
    for option, value in (("--objective", objective), ("--shares", shares)):
        if value is not None:
            raise ValueError(f"{option} is {value!r}, but there is no --map; give --map wait or --map speculate")
    from offramp.cost import cost as cost_of

    (print_cost_json if as_json else print_cost)(device, cost_of(Architecture.load(path), device))
