"""A value of a recipe, given anew: section.key=value."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from offramp.recipe._error import RecipeError


def override(values: dict[str, Any], given: str) -> None:
    """Set in `values` what `given`, `section.key=value`, says.

    Raises:
        RecipeError: it is not of that form, or goes through a value as if it were a section.
    """
    path, separator, text = given.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not separator or not all(keys):
        raise RecipeError("--set", [f"{given!r} is not of the form section.key=value"])
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, Mapping):
            raise RecipeError("--set", [f"{given!r}: {key} is a value, not a section"])
    values[keys[-1]] = _value(text)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()  # a bare word is a string: --set data.name=digits
