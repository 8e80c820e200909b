"""Whether a .tflite file can be read to its end: Vela does not look, and ends the process where it cannot."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_SCHEMA = "ethosu.vela.tflite"


def whole(file: bytes) -> bool:
    """Whether every table and vector of the model lies in the file; needs the schema's classes that Vela carries.

    A file that is cut short never does. Numbers within tables are not looked at.
    """
    model = import_module(f"{_SCHEMA}.Model").Model
    try:
        _walk(model.GetRootAs(file), len(file), {})
    except Exception:  # the classes raise whatever they come upon: struct.error, IndexError, ValueError
        return False
    return True


def _walk(table: Any, size: int, seen: dict[Any, Any]) -> None:
    """Read every field of `table` and what lies below it."""
    kind, at = type(table), table._tab.Pos
    if not 0 <= at < size:
        raise ValueError(at)
    if (kind, at) in seen:
        return
    seen[kind, at] = table
    fields = [name for name in vars(kind) if not name.startswith(("_", "GetRoot", "Init"))]
    for name in fields:
        if name.endswith(("AsNumpy", "IsNone", "Identifier")) or f"{name}Length" in fields:
            continue
        found = getattr(table, name)()
        if name.endswith("Length"):
            if not 0 <= found <= size:
                raise ValueError(found)
            vector = name.removesuffix("Length")
            if f"{vector}AsNumpy" in fields:
                getattr(table, f"{vector}AsNumpy")()
                continue
            parts = [getattr(table, vector)(i) for i in range(found)]
        elif name == "BuiltinOptions" and found is not None:
            parts = [_options(table.BuiltinOptionsType(), found)]
        else:
            parts = [found]
        for part in parts:
            if type(part).__module__.startswith(_SCHEMA):
                _walk(part, size, seen)


def _options(number: int, found: Any) -> Any:
    """An operator's options as the table that they are."""
    kinds = vars(import_module(f"{_SCHEMA}.BuiltinOptions").BuiltinOptions)
    (name,) = [name for name, value in kinds.items() if value == number and not name.startswith("_")]
    options = getattr(import_module(f"{_SCHEMA}.{name}"), name)()
    options.Init(found.Bytes, found.Pos)
    return options
