"""Every key of a recipe with its default, as a page: `python -m offramp.recipe._reference > docs/keys.md`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import NoneType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from offramp.recipe._budget import Budget
from offramp.recipe._recipe import Recipe
from offramp.spaces import SPACES, options_class

_HEAD = """# Every key of a recipe

Written from the code by `python -m offramp.recipe._reference > docs/keys.md`. What the sections are for is told in
[recipes.md](recipes.md), what the spaces hold in [space.md](space.md). `offramp validate my.toml --show` prints your
recipe with every default filled in; a key that has none, here "-", is left out.
"""
_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def reference() -> str:
    """The page: a table for each section, a row for each key."""
    extends = FieldInfo(default=None, description="name or path of the recipe that this one begins with")
    parts = [_HEAD, _table("Before any section", {"extends": extends, "seed": Recipe.model_fields["seed"]})]
    for name, field in Recipe.model_fields.items():
        section = _section(field.annotation)
        if name == "finetune":
            parts.append(f"## [finetune]\n\n{_sentence(field.description)} It has the keys of [train].\n")
        elif section is not None:
            parts.append(_table(f"[{name}]", section.model_fields, field.description))
        if name == "deliver":
            parts.append(_table("An entry of deliver.budgets", Budget.model_fields))
        if name == "space":
            parts += [_table(f'[space] with name = "{s}"', options_class(s).model_fields) for s in SPACES]
    return "\n".join(parts)


def _table(title: str, fields: dict[str, FieldInfo], about: str | None = None) -> str:
    rows = [f"| `{name}` | {_default(field)} | {_said(field)} |" for name, field in fields.items()]
    lines = [f"## {title}", "", *([_sentence(about), ""] if about else [])]
    return "\n".join([*lines, "| key | default | |", "|---|---|---|", *rows, ""])


def _sentence(text: str | None) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if field.is_required() or value is PydanticUndefined:
        return "must be given"
    if value is None:
        return "-"
    return f"`{json.dumps(value, default=lambda v: v.model_dump(exclude_none=True))}`"


def _said(field: FieldInfo) -> str:
    allowed = [*dict.fromkeys(_allowed(field.annotation, field.metadata))]
    choices = f"allowed: {', '.join(f'`{a}`' for a in allowed)}" if allowed else ""
    limits = ", ".join(dict.fromkeys(_limits(field.annotation, field.metadata)))
    return "; ".join(part for part in (field.description, choices, limits) if part)


def _allowed(annotation: Any, metadata: Any) -> Iterator[Any]:
    """The values out of which a field is chosen, wherever in its type they stand."""
    for item in metadata:
        if isinstance(item, BeforeValidator):
            yield from getattr(item.func, "allowed", ())
    if get_origin(annotation) is Literal:
        yield from (json.dumps(a) if isinstance(a, bool) else a for a in get_args(annotation))
    else:
        for part in get_args(annotation):
            yield from _allowed(part, getattr(part, "__metadata__", ()))


def _limits(annotation: Any, metadata: Any) -> Iterator[str]:
    """What numbers are bounded by, wherever in the type that stands."""
    for item in metadata:
        for name, sign in _SIGNS.items():
            if (bound := getattr(item, name, None)) is not None and bound < 2**63:
                yield f"{sign} {bound:g}"
        yield from _limits(None, getattr(item, "metadata", ()))
    for part in get_args(annotation):
        yield from _limits(part, getattr(part, "__metadata__", ()))


def _section(annotation: Any) -> type[BaseModel] | None:
    kinds = (
        get_args(annotation) if get_origin(annotation) is Union or NoneType in get_args(annotation) else [annotation]
    )
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


if __name__ == "__main__":
    print(reference(), end="")
