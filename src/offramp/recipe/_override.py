"""Values of a recipe, given anew: section.key=value."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from offramp.recipe._policy import other_goals_dropped


def override(values: dict[str, Any], overrides: Iterable[str]) -> list[str]:
    """Set in `values` what each of `overrides`, `section.key=value`, says; gives a line for each that cannot be."""
    problems, anew = [], []
    for given in overrides:
        try:
            anew.append(_set(values, given))
        except ValueError as error:
            problems.append(f"--set {given!r}: {error}")
    if isinstance(values.get("policy"), Mapping):
        goal = [keys[1] for keys in anew if keys[0] == "policy" and len(keys) == 2]
        values["policy"] = other_goals_dropped(values["policy"], goal)
    return problems


def _set(values: dict[str, Any], given: str) -> list[str]:
    """Gives the section, and the key in it, that was set."""
    path, separator, text = given.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not separator or not all(keys):
        raise ValueError("it is not of the form section.key=value")
    if keys == ["extends"]:
        raise ValueError("what a recipe extends is told by the recipe alone")
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, Mapping):
            raise ValueError(f"{key} is a value, not a section")
    values[keys[-1]] = _value(text)
    return keys


def _value(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text.strip()  # a bare word is a string: --set data.name=digits
    if len(found) > 1:
        raise ValueError("it holds more than one value; give each a --set of its own")
    return found["value"]
