"""The recipes that come with Offramp."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path

from offramp.recipe._error import RecipeError, nearest

_PACKAGE = Path(__file__).parents[1]


def shipped() -> dict[str, Path]:
    """The recipes that come with Offramp, by name."""
    inside = _PACKAGE / "recipes"
    folder = inside if inside.is_dir() else _PACKAGE.parents[1] / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find(name: str) -> Path:
    """The file of a recipe given by its path, or by the name of one that comes with Offramp.

    Raises:
        RecipeError: there is neither.
    """
    if Path(name).is_file():
        return Path(name)
    if name in shipped():
        return shipped()[name]
    if Path(name).is_dir():
        raise RecipeError(name, ["a folder; give the file of a recipe in it, such as a run's recipe.toml"])
    if len(Path(name).parts) > 1 or name.endswith(".toml"):
        raise RecipeError(name, ["no such file"])
    raise RecipeError(name, [f"no such file, and no recipe of that name; {nearest(name, shipped())}"])


def about(path: Path) -> str:
    """The first sentence that a recipe's comments say of it, behind the command that runs it; may be empty."""
    head = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    said = (line.lstrip("# ").rstrip() for line in head)
    text = " ".join(line for line in said if line and not line.startswith("offramp run"))
    return re.split(r"(?<=\.) (?=[A-Z`])", text)[0]
