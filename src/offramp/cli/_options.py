"""Options and arguments that several commands take."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Folder = Annotated[Path, typer.Argument(help="A run's folder.", exists=True, file_okay=False)]
Delivered = Annotated[Path, typer.Argument(help="DIR/chosen/NAME of a run.", exists=True, file_okay=False)]
Input = Annotated[str, typer.Option(help="Channels x height x width.")]
Classes = Annotated[int, typer.Option(help="Number of classes.", min=2)]
SpaceOptions = Annotated[list[str] | None, typer.Option("--set", help="An option of the space: key=value (TOML).")]


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version as version_of

        typer.echo(f"offramp {version_of('offramp')}")
        raise typer.Exit


def version(
    asked: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Designs early-exit neural networks: searches, trains, tunes thresholds, exports."""


def shape(text: str) -> tuple[int, int, int]:
    """What `--input` says.

    Raises:
        ValueError: it is not of that form.
    """
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"--input is {text!r}; it must be CHANNELSxHEIGHTxWIDTH, such as 3x32x32")
    return int(parts[0]), int(parts[1]), int(parts[2])


def numbers(option: str, text: str, wanted: str, count: int | None = None, infinite: bool = False) -> list[float]:
    """The numbers with commas between that `option` says; `count` of them, where given; finite ones unless allowed.

    Parentheses and quotes around inf, as Python and JSON have them, are left out.

    Raises:
        ValueError: it says something else; the message names what is `wanted`.
    """
    found: list[float] = []
    with suppress(ValueError):
        found = [float(part) for part in re.sub(r"float\(|[()\[\]\"'\s]", "", text).rstrip(",").split(",")]
    allowed = (lambda x: not math.isnan(x)) if infinite else math.isfinite
    if not found or not all(map(allowed, found)) or count not in (None, len(found)):
        raise ValueError(f"{option} is {text!r}; it must be {wanted}")
    return found


def space_options(space: str, given: Sequence[str]) -> dict[str, Any]:
    """The options of a space that `--set` gives.

    Raises:
        RecipeError: with every mistake in them.
    """
    from offramp.recipe import RecipeError, override, wrong_options

    options: dict[str, Any] = {}
    problems = override(options, given)
    if "name" in options:
        problems.append(f"--set 'name={options['name']}': that is no option; the space was given as {space!r}")
    problems += wrong_options({**options, "name": space})
    if problems:
        raise RecipeError(f"options of space {space!r}", problems)
    return options
