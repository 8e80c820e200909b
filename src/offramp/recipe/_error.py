"""A recipe's mistakes, one line each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from pydantic_core import ErrorDetails


class RecipeError(ValueError):
    """A recipe, `source`, with mistakes; `problems` has one line for each, by its path."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source, self.problems = source, tuple(problems)
        super().__init__(f"{source}:\n" + "\n".join(f"  {problem}" for problem in problems))


def lines(errors: Sequence[ErrorDetails], *prefix: str, known: Collection[str] = ()) -> list[str]:
    """Pydantic's complaints as lines, each with its path (behind `prefix`) and what was given; `known`: a section's
    keys."""
    found, paths = [], [item["loc"] for item in errors]
    for item in errors:
        size = len(item["loc"])
        if item["type"] == "too_short" and any(len(path) > size and path[:size] == item["loc"] for path in paths):
            continue  # entries are there; they are wrong, and that is told
        path = ".".join(map(str, (*prefix, *item["loc"]))) or "recipe"
        given = "" if item["type"] in ("missing", "value_error") else f" (given: {short(item['input'])})"
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = f"there is no such key; {nearest(str(item['loc'][-1]), known)}"
        if item["type"] == "missing":
            message = "must be given"
        if item["type"] == "model_type":
            message = "must be a section, of keys and values"
        found.append(f"{path}: {message}{given}")
    return found


def nearest(name: str, known: Collection[str]) -> str:
    """What was meant by an unknown `name`, if some of `known` is near it, and else all that are allowed."""
    near = [other for other in known if name in other] or get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"known are {', '.join(known)}" if known else "leave it out"


def short(value: object) -> str:
    """`value` in at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
