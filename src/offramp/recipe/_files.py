"""Files and folders that a recipe names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from offramp.recipe._partial import answers

if TYPE_CHECKING:
    from offramp.recipe._recipe import Recipe


def absent(recipe: Recipe) -> list[str]:
    """Those that are not there, as lines."""
    return [line for check in (_images, _weights) for line in answers(check, recipe)]


def _images(recipe: Recipe) -> list[str]:
    root = recipe.data.root
    if root is None or Path(root).expanduser().exists():
        return []
    return [f"data.root: {root!r} is not there; give the folder or file of the images"]


def _weights(recipe: Recipe) -> list[str]:
    init = recipe.supernet.init
    if init is None:
        return []
    kind, _, named = init.partition(":")
    path = Path(named).expanduser()
    path = path if kind == "ofa" else path / "supernet.safetensors"
    if path.is_file():
        return []
    wanted = "path of a checkpoint" if kind == "ofa" else "folder of a run whose supernet is trained"
    return [f"supernet.init: there is no file {str(path)!r}; give the {wanted}"]
