"""Spaces that users bring: a class in a module or in a file of theirs."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

from offramp.spaces._bits import SpaceOptions
from offramp.spaces.base import SearchSpace


def is_own(name: str) -> bool:
    """Whether `name` is "FILE.py:CLASS" or "MODULE:CLASS"."""
    return ":" in name


def own_space(name: str) -> type[SearchSpace]:
    """The class that `name` names.

    Raises:
        ValueError: it cannot be imported, or is no `SearchSpace`.
    """
    where, _, title = name.rpartition(":")
    try:
        module = _from_file(str(_path(where))) if where.endswith(".py") else importlib.import_module(where)
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise ValueError(f"space is {name!r}; {where} cannot be imported: {type(error).__name__}: {error}") from error
    found = getattr(module, title, None)
    if not (isinstance(found, type) and issubclass(found, SearchSpace)):
        there = [key for key, value in vars(module).items() if _made_in(value, module)]
        told = f"it has {', '.join(there)}" if there else "it has none"
        raise ValueError(f"space is {name!r}; {where} has no class {title!r} made from offramp.SearchSpace; {told}")
    if not hasattr(found, "name"):
        raise ValueError(f"space is {name!r}; class {title!r} of {where} has no `name`, by which studies know it")
    if lacking := sorted(found.__abstractmethods__):
        raise ValueError(f"space is {name!r}; class {title!r} of {where} lacks {', '.join(lacking)}")
    if not (isinstance(found.Options, type) and issubclass(found.Options, SpaceOptions)):
        raise ValueError(f"space is {name!r}; `Options` of {title!r} must be made from offramp.spaces.SpaceOptions")
    return found


def made_own(
    name: str, kind: Callable[..., SearchSpace], input: tuple[int, int, int], classes: int, options: SpaceOptions
) -> SearchSpace:
    """The space of a user's class.

    Raises:
        ValueError: its constructor raises, or it has not set what every space has.
    """
    try:
        made = kind(input, classes, options)
    except ValueError as error:
        raise ValueError(f"space {name!r}, for images of shape {input} and {classes} classes: {error}") from error
    except Exception as error:
        raise ValueError(f"space {name!r} cannot be made: {type(error).__name__}: {error}") from error
    if lacking := [key for key in ("input", "classes", "genes") if not hasattr(made, key)]:
        raise ValueError(f"space {name!r} has not set {', '.join(lacking)}")
    if len(options.bits) > 1 and not any(gene.name == "bits" for gene in made.genes):
        told = f"bits is {[list(pair) for pair in options.bits]}, among which a gene named bits would choose"
        raise ValueError(f"space {name!r}: {told}, and it has none; give one pair, or the class such a gene")
    if empty := [gene.name for gene in made.genes if not gene.choices]:
        raise ValueError(f"space {name!r} has genes without choices: {', '.join(empty)}")
    return made


def with_full_path(name: str) -> str:
    """`name` with its file's path in full; any other name as it is."""
    where, _, title = name.rpartition(":")
    return f"{_path(where)}:{title}" if where.endswith(".py") else name


def _path(where: str) -> Path:
    return Path(where).expanduser().absolute()


@cache
def _from_file(path: str) -> ModuleType:
    """The module of a file, read once, so that its classes stay the same ones."""
    spec = importlib.util.spec_from_file_location(f"offramp_own_{abs(hash(path)):x}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as dataclasses and pydantic look their module up
    spec.loader.exec_module(module)
    return module


def _made_in(value: object, module: ModuleType) -> bool:
    return isinstance(value, type) and issubclass(value, SearchSpace) and value.__module__ == module.__name__
