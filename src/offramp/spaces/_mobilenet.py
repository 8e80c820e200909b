"""The backbone that NACHOS, EDANAS and AEBNAS search: Once-for-All's MobileNetV3 (Cai et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from offramp.architecture import Activation, Architecture, Block, Bottleneck, Branch, Conv, Dense, Stage
from offramp.spaces._bits import SpaceOptions
from offramp.spaces._check import Ascending
from offramp.spaces.base import Candidate, Gene, SearchSpace

STAGES = 5
"""Stages, each with an exit behind it: an early one behind the first four, the final one behind the last."""

EARLY = range(STAGES - 1)
"""The stages that may have an early exit."""

ABSENT = 1.0
"""The threshold that stands for "no exit here": no margin exceeds it."""

_STEM = 16
_WIDTHS = (24, 40, 80, 112, 160)
_FINAL, _LAST = 960, 1280  # channels of the final exit's convolution and of its hidden layer
_STRIDES = (2, 2, 2, 1, 2)
_SQUEEZE = (False, True, False, True, True)
_ACTIVATIONS: tuple[Activation, ...] = ("relu", "relu", "hardswish", "hardswish", "hardswish")


class BackboneOptions(SpaceOptions):
    """Bits, and what may be chosen in the backbone, ascending and without repetition; `width` scales every layer's
    channels.

    With the defaults the networks are those of the Once-for-All supernet "w1.0".
    """

    depths: Ascending[PositiveInt] = Field((2, 3, 4), description="blocks of a stage")
    kernels: Ascending[Literal[3, 5, 7]] = Field((3, 5, 7), description="of depthwise convolutions")
    expansions: Ascending[PositiveInt] = Field((3, 4, 6), description="of the bottlenecks")
    width: float = Field(1.0, gt=0, le=4, description="factor on the channels, which are rounded to multiples of 8")


class ThresholdOptions(BackboneOptions):
    """What may be chosen in the backbone, and an early exit's thresholds, of which 1 stands for "no exit here"."""

    thresholds: Ascending[Annotated[float, Field(gt=0, le=ABSENT)]] = Field(
        (0.1, 0.2, ABSENT), description="of an early exit; 1: no exit there"
    )


def threshold_genes(thresholds: Sequence[float]) -> list[Gene]:
    """`i.threshold` of the exit behind stage i, for the early exits."""
    return [Gene(f"{i}.threshold", tuple(thresholds)) for i in EARLY]


def read_thresholds(values: Mapping[str, Any]) -> tuple[list[int], tuple[float, ...] | None]:
    """The stages with an early exit, and the thresholds of these exits (None where there is none), by the genes."""
    present = [i for i in EARLY if values[f"{i}.threshold"] < ABSENT]
    return present, tuple(values[f"{i}.threshold"] for i in present) or None


def threshold_values(candidate: Candidate) -> dict[str, float]:
    """The values of the threshold genes of `candidate`.

    Raises:
        ValueError: it has not one threshold for each early exit.
    """
    early, thresholds = candidate.architecture.exits[:-1], candidate.thresholds or ()
    if len(thresholds) != len(early):
        raise ValueError(f"thresholds is {candidate.thresholds}; the {len(early)} early exits need one each")
    return {f"{i}.threshold": ABSENT for i in EARLY} | {f"{i}.threshold": t for i, t in zip(early, thresholds)}


class Backbone:
    """Gene values <-> the blocks of the five stages, for given options.

    Genes of stage i: `i.depth`, then `i.j.kernel` of each block j, then `i.j.expansion` (inactive beyond the depth).
    The first convolution and the block without expansion behind it are fixed, and stand in stage 0.
    """

    def __init__(self, options: BackboneOptions) -> None:
        self.options = options
        self.widths = tuple(make_divisible(width * options.width) for width in _WIDTHS)

    def genes(self, stage: int) -> list[Gene]:
        """The genes of one stage; the paper's genotype has those of all five in order, 45 with the default options."""
        o, blocks = self.options, range(max(self.options.depths))
        return [
            Gene(f"{stage}.depth", o.depths),
            *(Gene(f"{stage}.{j}.kernel", o.kernels) for j in blocks),
            *(Gene(f"{stage}.{j}.expansion", o.expansions) for j in blocks),
        ]

    def all_genes(self) -> list[Gene]:
        """The genes of the five stages, in order."""
        return [gene for stage in range(STAGES) for gene in self.genes(stage)]

    def stages(self, values: Mapping[str, Any]) -> tuple[tuple[Block, ...], ...]:
        """The blocks of the five stages that the genes' values ask for; block j of stage i reads genes `i.j` only."""
        channels = make_divisible(_STEM * self.options.width)
        stem = Conv(out=channels, kernel=3, stride=2, act="hardswish")
        first = Bottleneck(out=channels, hidden=0, kernel=3, stride=1, act="relu")
        found: list[tuple[Block, ...]] = []
        for i, width in enumerate(self.widths):
            blocks: list[Block] = [] if i else [stem, first]
            for j in range(values[f"{i}.depth"]):
                hidden = channels * values[f"{i}.{j}.expansion"]
                squeeze = make_divisible(hidden // 4) if _SQUEEZE[i] else 0
                kernel, stride = values[f"{i}.{j}.kernel"], 1 if j else _STRIDES[i]
                blocks.append(
                    Bottleneck(
                        out=width, hidden=hidden, kernel=kernel, stride=stride, squeeze=squeeze, act=_ACTIVATIONS[i]
                    )
                )
                channels = width
            found.append(tuple(blocks))
        return tuple(found)

    def values(self, stages: Sequence[Sequence[Block]]) -> dict[str, Any]:
        """The gene values that `stages` reads like; what does not fit shows when they are built again and compared.

        Genes of blocks that are not there are left out.
        """
        values: dict[str, Any] = {}
        channels = make_divisible(_STEM * self.options.width)
        for i, stage in enumerate(stages):
            blocks = [block for block in stage if isinstance(block, Bottleneck) and block.hidden]
            values[f"{i}.depth"] = len(blocks)
            for j, block in enumerate(blocks):
                values |= {f"{i}.{j}.kernel": block.kernel, f"{i}.{j}.expansion": block.hidden // channels}
                channels = block.out
        return values

    def smallest(self) -> dict[str, Any]:
        """The values of the backbone with the fewest MACs."""
        return {gene.name: gene.choices[0] for gene in self.all_genes()}

    def largest(self) -> dict[str, Any]:
        """The values of the backbone with the most MACs, of which every other one is a slice."""
        return {gene.name: gene.choices[-1] for gene in self.all_genes()}

    def size(self) -> int:
        """How many different backbones there are."""
        per_block = len(self.options.kernels) * len(self.options.expansions)
        return sum(per_block**depth for depth in self.options.depths) ** STAGES

    def final_exit(self) -> Branch:
        """Once-for-All's own head: pointwise convolution, mean of each channel, hidden layer, classifier."""
        final, last = (make_divisible(width * self.options.width) for width in (_FINAL, _LAST))
        return head(final, last)


def head(channels: int, hidden: int) -> Branch:
    """An exit in the manner of Once-for-All: pointwise to `channels`, mean, hidden layer without bias, classifier."""
    return Branch(
        blocks=(Conv(out=channels, kernel=1, act="hardswish"),),
        hidden=(Dense(out=hidden, act="hardswish", bias=False),),
    )


def make_divisible(value: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `value`, or the next one where that is more than a tenth too small."""
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * value else nearest + divisor


def assemble(
    space: SearchSpace, values: Mapping[str, Any], blocks: Sequence[tuple[Block, ...]], exits: Sequence[Branch | None]
) -> Architecture:
    """The network of these stages (their blocks, and the exit behind each) for `space`'s images and classes.

    `values`: of the genes, for its bits.
    """
    stages = tuple(Stage(blocks=of, exit=exit) for of, exit in zip(blocks, exits, strict=True))
    precision = space.precision(values)
    return Architecture(input=space.input, classes=space.classes, stages=stages, precision=precision)
