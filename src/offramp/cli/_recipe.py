"""Commands on recipes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from offramp.cli._print import print_line, stdout


def recipes() -> None:
    """List the recipes that come with Offramp."""
    from offramp.recipe import about, shipped

    for name, path in shipped().items():
        print_line(f"{name:24} {about(path)}")


def init(name: Annotated[str, typer.Argument(help="A name that `offramp recipes` lists.")]) -> None:
    """Print a recipe, to be edited: offramp init NAME > my.toml."""
    from offramp.recipe import find

    sys.stdout.write(find(name).read_text())


def validate(
    recipe: Annotated[str, typer.Argument(help="A recipe's file or name.")],
    set: Annotated[list[str] | None, typer.Option(help="Override a value: section.key=value.")] = None,
) -> None:
    """Report every mistake of a recipe, by its path."""
    from offramp.recipe import Recipe, find

    Recipe.load(find(recipe), set or (), files=True)
    stdout.print(f"{recipe}: no mistakes found", highlight=False)
