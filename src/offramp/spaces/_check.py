"""Checks that spaces share: of options, and of candidates that lie outside a space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from offramp.spaces._bits import pair_of
from offramp.spaces.base import Candidate, Genotype, SearchSpace


def check_ascending(name: str, choices: Sequence[Any]) -> None:
    """Raise a ValueError that names the option `name` unless `choices` ascend, at least one, none twice."""
    if not choices or list(choices) != sorted(set(choices)):
        raise ValueError(f"{name} is {tuple(choices)}; it needs at least one choice, ascending, none twice")


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
