"""Files and folders that a recipe names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from offramp.recipe._partial import answers

if TYPE_CHECKING:
    from offramp.recipe._recipe import Recipe


def absent(recipe: Recipe) -> list[str]:
    """Those that are not there, as lines."""
    return [line for check in (_images, _checkpoint) for line in answers(check, recipe)]


def _images(recipe: Recipe) -> list[str]:
    root = recipe.data.root
    if root is None or Path(root).expanduser().exists():
        return []
    return [f"data.root: {root!r} is not there; give the folder or file of the images"]


def _checkpoint(recipe: Recipe) -> list[str]:
    init = recipe.supernet.init
    if init is None or Path(init.removeprefix("ofa:")).is_file():
        return []
    return [f"supernet.init: there is no file {init.removeprefix('ofa:')!r}; give the path of a checkpoint"]
