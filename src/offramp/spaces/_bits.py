"""Bits as a choice of every space: of the backbone and of the branches, weights and activations alike."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from offramp.architecture import Bits, Precision

Pair = tuple[int, int]
"""Bits of the backbone, bits of the branches; 32 is float."""

FLOAT: tuple[Pair, ...] = ((32, 32),)
_MOST_BITS, _FLOAT = 8, 32


def _computable(pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
    if not pairs or list(pairs) != sorted(set(pairs)):
        raise ValueError(f"bits is {pairs}; it needs at least one pair, ascending, none twice")
    if wrong := [pair for pair in pairs if not all(b <= _MOST_BITS or b == _FLOAT for b in pair)]:
        raise ValueError(f"bits has {wrong[0]}; networks are computed at 2 to {_MOST_BITS}, or at {_FLOAT} (float)")
    return pairs


def _pairs(given: object) -> object:
    if isinstance(given, (list, tuple)) and given and all(isinstance(bits, int) for bits in given):
        raise ValueError(f"bits is {list(given)}; give pairs of backbone and branches, such as [[8, 8]]")
    return given


Pairs = Annotated[tuple[tuple[Bits, Bits], ...], BeforeValidator(_pairs), AfterValidator(_computable)]


class SpaceOptions(BaseModel):
    """What all spaces' options have: `bits` lists pairs, backbone and branches. Float alone stays out of the dump, on
    which identities depend."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bits: Pairs = Field(
        FLOAT,
        exclude_if=lambda pairs: pairs == FLOAT,
        description="pairs, backbone and branches, weights and activations alike; 32 is float",
    )

    @property
    def example(self) -> tuple[int, int, int]:
        """The shape of some images that the space suits."""
        return 3, 32, 32

    def settled(self) -> dict[str, Any]:
        """Options that name files, with what these hold in place of their paths, so that a run outlives them."""
        return {}


def precision_of(pair: Pair) -> Precision:
    """Weights and activations alike at these bits."""
    backbone, branch = pair
    return Precision(
        backbone_weights=backbone, backbone_activations=backbone, branch_weights=branch, branch_activations=branch
    )


def pair_of(precision: Precision) -> Pair:
    """The pair that `precision` reads like: the bits of its weights."""
    return precision.backbone_weights, precision.branch_weights
