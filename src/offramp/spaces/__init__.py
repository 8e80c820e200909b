"""Search spaces: which networks are considered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from offramp.spaces._bits import SpaceOptions
from offramp.spaces.aebnas import AebnasOptions, AebnasSpace
from offramp.spaces.base import Candidate, Gene, Genotype, SearchSpace
from offramp.spaces.edanas import EdanasOptions, EdanasSpace
from offramp.spaces.fixed import FixedOptions, FixedSpace
from offramp.spaces.nachos import NachosOptions, NachosSpace
from offramp.spaces.offramp import OfframpOptions, OfframpSpace
from offramp.spaces.zniber import ZniberOptions, ZniberSpace

_Make = Callable[[tuple[int, int, int], int, Any], SearchSpace]
_SPACES: dict[str, tuple[_Make, type[SpaceOptions]]] = {
    "offramp": (OfframpSpace, OfframpOptions),
    "nachos": (NachosSpace, NachosOptions),
    "edanas": (EdanasSpace, EdanasOptions),
    "aebnas": (AebnasSpace, AebnasOptions),
    "zniber": (ZniberSpace, ZniberOptions),
    "fixed": (FixedSpace, FixedOptions),
}
SPACES = tuple(_SPACES)

__all__ = [
    "SPACES",
    "AebnasOptions",
    "AebnasSpace",
    "Candidate",
    "EdanasOptions",
    "EdanasSpace",
    "FixedOptions",
    "FixedSpace",
    "Gene",
    "Genotype",
    "NachosOptions",
    "NachosSpace",
    "OfframpOptions",
    "OfframpSpace",
    "SearchSpace",
    "SpaceOptions",
    "ZniberOptions",
    "ZniberSpace",
    "options_class",
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
    channels, height, width = input
    return make((channels, height, width), classes, options_of(name, options))


def options_of(name: str, options: dict[str, Any]) -> SpaceOptions:
    """The checked options of space `name`.

    Raises:
        pydantic.ValidationError: with every mistake in them.
    """
    return options_class(name)(**options)


def options_class(name: str) -> type[SpaceOptions]:
    """What the options of space `name` are an instance of."""
    return _find(name)[1]


def _find(name: str) -> tuple[_Make, type[SpaceOptions]]:
    if name not in _SPACES:
        raise ValueError(f"space is {name!r}; known are {', '.join(SPACES)}")
    return _SPACES[name]
