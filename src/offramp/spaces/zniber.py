"""The space of Zniber et al. (arXiv 2512.04705): where a fixed MobileNetV2 exits, by which heads, at how many bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from offramp.architecture import Architecture, Block, Bottleneck, Branch, Conv, Dense, Stage
from offramp.layers import Shape, branch_layers, stage_layers
from offramp.spaces._bits import Pair, Pairs, SpaceOptions, precision_of
from offramp.spaces._check import Ascending, AscendingOrEmpty, Distinct, checked
from offramp.spaces._mobilenet import make_divisible
from offramp.spaces.base import Candidate, Gene, Genotype, SearchSpace

Head = Literal["single", "double"]
"""One linear layer, or one to half as many features, ReLU6, and another."""

_STEM = 32
_WIDTHS = (16, 24, 24, 32, 32, 64, 64, 96, 96, 160, 160, 320)
_EXPANSION = 6
_HALVING = (5, 9)  # blocks of stride 2
_WIDE_FROM = 7  # the first block with a 7x7 kernel
_GRID = 4
_LAST = len(_WIDTHS) - 1


class ZniberOptions(SpaceOptions):
    """What may be chosen in the space; lists are ascending and without repetition.

    `width` scales the backbone's channels, which are rounded to multiples of 8; 1 is the paper's. `bits` lists pairs,
    backbone and heads.
    """

    width: float = Field(
        default=1.0,
        ge=0.1,
        le=4,
        description="factor on the backbone's channels, which are rounded to multiples of 8; 1 is the paper's",
    )
    exits: AscendingOrEmpty[Annotated[int, Field(ge=0, le=_LAST - 2)]] = Field(
        tuple(range(_LAST - 1)), description="blocks behind which an early exit may stand"
    )
    heads: Distinct[Head] = Field(("single", "double"), description="one linear layer, or two")
    bits: Pairs = Field(
        ((4, 4), (4, 8), (8, 4), (8, 8), (32, 32)),
        description="pairs, backbone and branches, weights and activations alike; 32 is float",
    )
    thresholds: Ascending[Annotated[float, Field(ge=0, le=1)]] = Field(
        (0.7, 0.75, 0.8, 0.85, 0.9, 0.95), description="one for all early exits"
    )


class ZniberSpace(SearchSpace):
    """See `ZniberOptions` for what is searched; the backbone is fixed.

    Stages are blocks, and stage 0 holds the stem too, so that a stage has the paper's number of its block: an exit may
    stand behind blocks 0 to 9, the final one stands behind block 11. Genes: `bits`; for each block i of the option
    `exits`: `i.exit` (absent or present) and `i.exit.head` (inactive without that exit); `11.exit.head`; `threshold`,
    one for all early exits (inactive without any), on the largest probability.
    """

    Options = ZniberOptions
    name = "zniber"
    one_backbone = True

    def __init__(self, input: tuple[int, int, int], classes: int, options: ZniberOptions | None = None) -> None:
        self.input, self.classes = input, classes
        self.options = options or ZniberOptions()
        o = self.options
        self._backbone = _backbone(o.width)
        self._heads = _heads(self._backbone, Shape(*input))
        self.bits = o.bits
        genes = [Gene("bits", o.bits)]  # of one choice too: the genotypes of stored studies have it
        for i in o.exits:
            genes += [Gene(f"{i}.exit", (False, True)), Gene(f"{i}.exit.head", o.heads)]
        self.genes = (*genes, Gene(f"{_LAST}.exit.head", o.heads), Gene("threshold", o.thresholds))

    def decode(self, genotype: Sequence[int]) -> Candidate:
        """See `SearchSpace.decode`."""
        values = self.values(genotype)
        present = [i for i in self.options.exits if values[f"{i}.exit"]]
        heads = {i: values[f"{i}.exit.head"] for i in (*present, _LAST)}
        thresholds = (values["threshold"],) * len(present) if present else None
        return Candidate(self._build(heads, values["bits"]), thresholds)

    def encode(self, candidate: Candidate) -> Genotype:
        """See `SearchSpace.encode`."""
        architecture = candidate.architecture
        early = [i for i in architecture.exits if i < _LAST]
        if not set(early) <= set(self.options.exits):
            raise ValueError(f"early exits are {early}; space {self.name!r} allows them behind {self.options.exits}")
        values: dict[str, Any] = {}
        for i in architecture.exits:
            branch = architecture.stages[i].exit
            values |= {f"{i}.exit": True, f"{i}.exit.head": "double" if branch and branch.hidden else "single"}
        if candidate.thresholds:
            values["threshold"] = candidate.thresholds[0]
        return checked(self, candidate, values)

    def size(self) -> int:
        """See `SearchSpace.size`; exact."""
        o = self.options
        early = (1 + len(o.heads)) ** len(o.exits) - 1  # ways to have at least one early exit
        return len(o.bits) * len(o.heads) * (1 + len(o.thresholds) * early)

    def smallest(self) -> Architecture:
        """See `SearchSpace.smallest`; at the fewest bits, as MACs do not tell those apart."""
        return self._build({_LAST: self._by_macs(_LAST)[0]}, self.bits[0])

    def largest(self) -> Architecture:
        """See `SearchSpace.largest`; at the most bits."""
        heads = {i: self._by_macs(i)[-1] for i in (*self.options.exits, _LAST)}
        return self._build(heads, self.bits[-1])

    def cover(self) -> list[Architecture]:
        """See `SearchSpace.cover`: every exit by either head."""
        places = (*self.options.exits, _LAST)
        return [self._build(dict.fromkeys(places, head), self.bits[-1]) for head in self.options.heads]

    def sandwich(self, rng: np.random.Generator, count: int, variants: int = 0) -> list[tuple[Architecture, ...]]:
        """See `SearchSpace.sandwich`; one tuple whatever `count` is, as there is one backbone.

        Heads are drawn at random, but those of a second network are others than the first's wherever there is a
        choice. All networks of a step have the same bits.
        """
        places, kinds = (*self.options.exits, _LAST), self.options.heads
        bits = self.draw_bits(rng)
        drawn = rng.integers(len(kinds), size=(1 + variants, len(places)))
        drawn[1:2] = (drawn[0] + 1) % len(kinds)
        return [tuple(self._build({i: kinds[k] for i, k in zip(places, row)}, bits) for row in drawn)]

    def _by_macs(self, i: int) -> list[Head]:
        """The heads that exit `i` may have, by MACs: with thousands of classes, two layers cost less than one."""

        def macs(head: Head) -> int:
            shape, branches = self._heads[i]
            return sum(layer.macs for layer in branch_layers(branches[head], shape, self.classes))

        return sorted(self.options.heads, key=macs)

    def _build(self, heads: dict[int, Head], bits: Pair) -> Architecture:
        stages = []
        for i, blocks in enumerate(self._backbone):
            _, branches = self._heads[i]
            stages.append(Stage(blocks=blocks, exit=branches[heads[i]] if i in heads else None))
        precision = precision_of(bits)
        return Architecture(input=self.input, classes=self.classes, stages=tuple(stages), precision=precision)


def _backbone(factor: float) -> list[tuple[Block, ...]]:
    """The blocks of each stage."""
    width = make_divisible(_STEM * factor)
    found: list[tuple[Block, ...]] = []
    for i, channels in enumerate(_WIDTHS):
        block = Bottleneck(
            out=make_divisible(channels * factor),
            hidden=_EXPANSION * width if i else 0,
            kernel=3 if i < _WIDE_FROM else 7,
            stride=2 if i in _HALVING else 1,
            act="relu6",
        )
        found.append((block,) if i else (Conv(out=width, act="relu6"), block))
        width = block.out
    return found


def _heads(backbone: list[tuple[Block, ...]], shape: Shape) -> list[tuple[Shape, dict[Head, Branch]]]:
    """For each stage the shape of its output and what an exit there may be."""
    found: list[tuple[Shape, dict[Head, Branch]]] = []
    for blocks in backbone:
        shape = stage_layers(Stage(blocks=blocks), shape)[-1].shape_out
        features = shape.channels * min(_GRID, shape.height) * min(_GRID, shape.width)
        hidden = Dense(out=features // 2, act="relu6")
        found.append(
            (
                shape,
                {"single": Branch(pool="max", grid=_GRID), "double": Branch(pool="max", grid=_GRID, hidden=(hidden,))},
            )
        )
    return found
