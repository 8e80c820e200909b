"""Search spaces: which networks are considered."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from offramp.spaces._bits import SpaceOptions, precision_of
from offramp.spaces._check import checked
from offramp.spaces._own import is_own, made_own, own_space, with_full_path
from offramp.spaces.aebnas import AebnasOptions, AebnasSpace
from offramp.spaces.base import Candidate, Gene, Genotype, SearchSpace
from offramp.spaces.edanas import EdanasOptions, EdanasSpace
from offramp.spaces.fixed import FixedOptions, FixedSpace
from offramp.spaces.nachos import NachosOptions, NachosSpace
from offramp.spaces.offramp import OfframpOptions, OfframpSpace
from offramp.spaces.zniber import ZniberOptions, ZniberSpace

_SPACES: dict[str, type[SearchSpace]] = {
    made.name: made for made in (OfframpSpace, NachosSpace, EdanasSpace, AebnasSpace, ZniberSpace, FixedSpace)
}
SPACES = tuple(_SPACES)
"""Names of the spaces that come with Offramp; `space` also takes "FILE.py:CLASS" and "MODULE:CLASS"."""

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
    "checked",
    "is_own",
    "options_class",
    "options_of",
    "own_space",
    "precision_of",
    "space",
    "space_class",
    "with_full_path",
]


def space(
    name: str = "offramp", input: tuple[int, int, int] = (3, 32, 32), classes: int = 10, **options: Any
) -> SearchSpace:
    """The search space `name` for images of shape `input` (channels, height, width).

    `name` is one of `SPACES`, or a class of your own, as "FILE.py:CLASS" or "MODULE:CLASS".

    Raises:
        ValueError: unknown name, a class that cannot be imported, or options that the space does not have or allow (a
            pydantic error that lists them all).
    """
    channels, height, width = input
    make: Callable[..., SearchSpace] = space_class(name)
    made = make if not is_own(name) else partial(made_own, name, make)
    return made((channels, height, width), classes, options_of(name, options))


def options_of(name: str, options: dict[str, Any]) -> SpaceOptions:
    """The checked options of space `name`.

    Raises:
        pydantic.ValidationError: with every mistake in them.
    """
    return options_class(name)(**options)


def options_class(name: str) -> type[SpaceOptions]:
    """What the options of space `name` are an instance of."""
    return space_class(name).Options


def space_class(name: str) -> type[SearchSpace]:
    """What space `name` is an instance of.

    Raises:
        ValueError: unknown name, or a class that cannot be imported.
    """
    if is_own(name):
        return own_space(name)
    if name not in _SPACES:
        raise ValueError(f"space is {name!r}; known are {', '.join(SPACES)}, or FILE.py:CLASS for one of your own")
    return _SPACES[name]
