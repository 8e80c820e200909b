"""A recipe laid over the one that it extends."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from offramp.recipe._error import RecipeError
from offramp.recipe._policy import other_goals_dropped
from offramp.recipe._shipped import find
from offramp.recipe._text import text_of


def extended(values: dict[str, Any], path: Path, chain: Sequence[Path] = ()) -> dict[str, Any]:
    """`values` laid over those of the recipe that their `extends` names, which may itself extend another one.

    Raises:
        RecipeError: there is no such recipe, it is not valid TOML, or it extends, in the end, itself.
    """
    if "extends" not in values:
        return values
    name, chain = values["extends"], (*chain, path.resolve())
    if not isinstance(name, str):
        raise RecipeError(str(path), [f"extends: {name!r} is not the name or path of a recipe"])
    try:
        base = find(str(path.parent / name) if (path.parent / name).is_file() else name)
        found = tomllib.loads(text_of(base))
    except RecipeError as error:
        raise RecipeError(str(path), [f"extends: {name}: {error.problems[0]}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(str(path), [f"extends: {base} is not valid TOML: {error}"]) from error
    if base.resolve() in chain:
        circle = " -> ".join(part.stem for part in (*chain, base))
        raise RecipeError(str(path), [f"extends: a circle, {circle}"])
    under = extended(found, base, chain)
    if isinstance(under.get("policy"), Mapping) and isinstance(values.get("policy"), Mapping):
        under = {**under, "policy": other_goals_dropped(under["policy"], values["policy"])}
    return _merged(under, {key: value for key, value in values.items() if key != "extends"})


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`: sections key by key, anything else (lists too) whole."""
    found = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = _merged(found[key], value) if both else value
    return found
