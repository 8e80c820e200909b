"""What the sections share: no unknown keys, names out of a list, nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Seed = Annotated[int, Field(ge=0, lt=2**63)]

Listed = TypeVar("Listed", bound=Sequence[Any])


class Section(BaseModel):
    """A part of a recipe: frozen, every key known, every number finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def one_of(allowed: Sequence[str]) -> BeforeValidator:
    """A validator that lets the names in `allowed` through, and lists them where another one is given."""

    def check(value: object) -> object:
        if value not in allowed:
            raise ValueError(f"{value!r} is unknown; allowed are {', '.join(allowed)}")
        return value

    check.allowed = tuple(allowed)  # type: ignore[attr-defined]  # for the page of all keys
    return BeforeValidator(check)


def once(what: str, given: Listed) -> Listed:
    """`given`, if nothing is in it twice.

    Raises:
        ValueError: something is; it says what.
    """
    twice = [item for item, times in Counter(given).items() if times > 1]
    if twice:
        raise ValueError(f"every {what} may be given once; more often are {', '.join(map(str, twice))}")
    return given
