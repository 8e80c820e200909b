"""Checks that spaces share: of options, and of candidates that lie outside a space."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator

from offramp.spaces._bits import pair_of
from offramp.spaces.base import Candidate, Genotype, SearchSpace

Choice = TypeVar("Choice")


def _ascending(choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    if not choices:
        raise ValueError("it is empty; give at least one choice")
    return _in_order(choices)


def _in_order(choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    if list(choices) != sorted(set(choices)):  # type: ignore[type-var]
        raise ValueError(f"{_written(choices)} must ascend, with none twice")
    return choices


def _distinct(choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    if not choices:
        raise ValueError("it is empty; give at least one choice")
    if len(set(choices)) != len(choices):
        raise ValueError(f"{_written(choices)} has a choice twice")
    return choices


def _written(choices: Sequence[Any]) -> str:
    return json.dumps(list(choices))  # as a recipe has them


Ascending = Annotated[tuple[Choice, ...], AfterValidator(_ascending)]
"""Choices of an option: at least one, ascending, none twice. Checked field by field, so that every mistake is told."""
AscendingOrEmpty = Annotated[tuple[Choice, ...], AfterValidator(_in_order)]
"""As `Ascending`, or empty."""
Distinct = Annotated[tuple[Choice, ...], AfterValidator(_distinct)]
"""Choices in any order: at least one, none twice."""


def checked(space: SearchSpace, candidate: Candidate, values: dict[str, Any]) -> Genotype:
    """The genotype of `candidate`, which reads like `values` and its bits: `SearchSpace.encode`.

    Raises:
        ValueError: `space` holds no candidate with these values, or the one it holds is another; the message names what
        does not fit.
    """
    found = (candidate.architecture.input, candidate.architecture.classes)
    if found != (space.input, space.classes):
        raise ValueError(f"(input, classes) is {found}; this space is for {(space.input, space.classes)}")
    genotype = space.indices(values | {"bits": pair_of(candidate.architecture.precision)})
    nearest = space.decode(genotype)
    if nearest != candidate:
        raise ValueError(
            f"the candidate lies outside space {space.name!r} with these options: {difference(candidate, nearest)}"
        )
    return genotype


def difference(candidate: Candidate, nearest: Candidate) -> str:
    """The first field in which two candidates differ, with both values."""
    if candidate.thresholds != nearest.thresholds:
        return f"thresholds is {candidate.thresholds}; here it is {nearest.thresholds}"
    return _first_difference("architecture", candidate.architecture.model_dump(), nearest.architecture.model_dump())


def _first_difference(path: str, found: Any, wanted: Any) -> str:
    if isinstance(found, dict) and isinstance(wanted, dict) and found.keys() == wanted.keys():
        key = next(key for key in found if found[key] != wanted[key])
        return _first_difference(f"{path}.{key}", found[key], wanted[key])
    if isinstance(found, tuple) and isinstance(wanted, tuple) and len(found) == len(wanted):
        i = next(i for i, (a, b) in enumerate(zip(found, wanted)) if a != b)
        return _first_difference(f"{path}.{i}", found[i], wanted[i])
    if isinstance(found, tuple) and isinstance(wanted, tuple):
        return f"{path} has {len(found)} entries; the nearest here has {len(wanted)}"
    return f"{path} is {found!r}; the nearest here has {wanted!r}"
