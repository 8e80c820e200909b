"""Search spaces: which networks are considered."""

from __future__ import annotations

from typing import Any

from offramp.spaces.base import Candidate, Gene, Genotype, SearchSpace
from offramp.spaces.offramp import OfframpOptions, OfframpSpace

_SPACES = {"offramp": (OfframpSpace, OfframpOptions)}
SPACES = tuple(_SPACES)

__all__ = [
    "SPACES",
    "Candidate",
    "Gene",
    "Genotype",
    "OfframpOptions",
    "OfframpSpace",
    "SearchSpace",
    "options_of",
    "space",
]


def space(
    name: str = "offramp", input: tuple[int, int, int] = (3, 32, 32), classes: int = 10, **options: Any
) -> SearchSpace:
    """The search space `name` for images of shape `input` (channels, height, width).

    Raises:
        ValueError: unknown name, or options that the space does not have or allow (a pydantic error that lists them
        all).
    """
    make, _ = _find(name)
    return make(tuple(input), classes, options_of(name, options))  # type: ignore[arg-type]


def options_of(name: str, options: dict[str, Any]) -> OfframpOptions:
    """The checked options of space `name`.

    Raises:
        pydantic.ValidationError: with every mistake in them.
    """
    return _find(name)[1](**options)


def _find(name: str) -> tuple[type[OfframpSpace], type[OfframpOptions]]:
    if name not in _SPACES:
        raise ValueError(f"space is {name!r}; known are {', '.join(SPACES)}")
    return _SPACES[name]
