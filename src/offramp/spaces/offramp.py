"""The default space: a MobileNetV3-style backbone with an optional, searched exit branch after every stage."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from offramp.architecture import Activation, Architecture, Bottleneck, Conv, Stage
from offramp.layers import layers
from offramp.spaces._bits import SpaceOptions
from offramp.spaces._branches import (
    SMALLEST_MAP,
    BranchOptions,
    branch_count,
    branch_genes,
    branch_of,
    cover_kinds,
    exit_ways,
    extreme_branch,
    read_branch,
)
from offramp.spaces._check import Ascending, checked
from offramp.spaces.base import Candidate, Gene, Genotype, SearchSpace


class _BackboneOptions(SpaceOptions):
    """What the backbone may be; see `OfframpOptions`."""

    stem_strides: Ascending[Literal[1, 2]] = Field((1, 2), description="of the first convolution")
    stem_widths: Ascending[PositiveInt] = Field((8, 12, 16, 24), description="its channels")
    widths: tuple[Ascending[PositiveInt], ...] = Field(
        ((8, 12, 16), (16, 24, 32), (24, 32, 48), (40, 56, 72), (64, 88, 112)),
        description="channels, a list for each stage",
    )
    depths: tuple[Ascending[PositiveInt], ...] = Field(
        ((1, 2), (1, 2, 3), (1, 2, 3), (1, 2, 3), (1, 2, 3)), description="blocks, a list for each stage"
    )
    strides: tuple[Literal[1, 2], ...] = Field(
        (1, 2, 2, 1, 2), description="of each stage; a stride of 2 is left out where the map would fall below 4 x 4"
    )
    kernels: Ascending[Literal[3, 5, 7]] = Field((3, 5), description="of depthwise convolutions")
    expansions: Ascending[PositiveInt] = Field((2, 3, 4, 6), description="of the bottlenecks")
    squeeze_excite: Ascending[bool] = Field((False, True), description="whether a stage's blocks have it")
    activations: tuple[Activation, ...] = Field(
        ("relu", "relu", "hardswish", "hardswish", "hardswish"), description="of each stage"
    )

    @model_validator(mode="after")
    def _consistent(self) -> _BackboneOptions:
        per_stage = {name: len(getattr(self, name)) for name in ("widths", "depths", "strides", "activations")}
        if not self.widths or len(set(per_stage.values())) != 1:
            counts = ", ".join(f"{name} has {count}" for name, count in per_stage.items())
            raise ValueError(f"every stage needs one entry in each of these: {counts}")
        return self


class OfframpOptions(BranchOptions, _BackboneOptions):
    """What may be chosen in the space; lists are ascending and without repetition.

    `widths`, `depths` have one list per stage. `strides` is fixed per stage; a stride of 2 is left out where the map
    would become smaller than 4x4, so that the space suits any input size. `bits` are those of `SpaceOptions`, what
    concerns branches is of `BranchOptions`.
    """


class OfframpSpace(SearchSpace):
    """See `OfframpOptions` for what is searched.

    Genes: `bits`, where there is a choice; `stem.stride`, `stem.width`; for each stage i `i.width`, `i.depth`,
    `i.squeeze`; for each of its blocks j `i.j.kernel` and `i.j.expansion` (inactive beyond the depth); `i.exit` (absent
    or present; no gene in the last stage); for its branch `i.exit.depth`, `i.exit.width`, `i.exit.pool`, and for each
    of its layers j `i.exit.j.operator`. Where `max_exits` is exceeded, the exits nearest to the input stay.
    """

    Options = OfframpOptions
    name = "offramp"

    def __init__(self, input: tuple[int, int, int], classes: int, options: OfframpOptions | None = None) -> None:
        self.input, self.classes = input, classes
        self.options = options or OfframpOptions()
        self.bits = self.options.bits
        self.genes = (*self.bits_genes(), *_genes(self.options))

    @property
    def stages(self) -> int:
        """Number of stages."""
        return len(self.options.widths)

    @property
    def _stem_may_halve(self) -> bool:
        return min(self.input[1:]) // 2 >= SMALLEST_MAP

    def decode(self, genotype: Sequence[int]) -> Candidate:
        """See `SearchSpace.decode`."""
        return Candidate(self._build(self.values(genotype)))

    def encode(self, candidate: Candidate) -> Genotype:
        """See `SearchSpace.encode`."""
        values = _read(candidate.architecture)
        if not self._stem_may_halve:
            del values["stem.stride"]
        return checked(self, candidate, values)

    def size(self) -> int:
        """See `SearchSpace.size`; exact."""
        o = self.options
        per_block = len(o.kernels) * len(o.expansions)
        backbone = len(o.stem_widths) * (len(o.stem_strides) if self._stem_may_halve else 1)
        for widths, depths in zip(o.widths, o.depths):
            backbone *= len(widths) * len(o.squeeze_excite) * sum(per_block**depth for depth in depths)
        branches = branch_count(o, self.input[1:])  # smaller maps of it are no single values, see SMALLEST_MAP
        return len(self.bits) * backbone * exit_ways([branches] * (self.stages - 1), o.max_exits - 1) * branches

    def smallest(self) -> Architecture:
        """See `SearchSpace.smallest`."""
        return self._build(self._extreme(0, min))

    def largest(self) -> Architecture:
        """See `SearchSpace.largest`."""
        return self._build(self._extreme(-1, max), all_exits=True)

    def cover(self) -> list[Architecture]:
        """See `SearchSpace.cover`: the largest backbone with every kind of branch."""
        values = self._values(-1)
        every = [cover_kinds(self.options, i) for i in range(self.stages)]
        return [self._build(values | dict(ChainMap(*kinds)), all_exits=True) for kinds in zip(*every)]

    def sandwich(self, rng: np.random.Generator, count: int, variants: int = 0) -> list[tuple[Architecture, ...]]:
        """See `SearchSpace.sandwich`; branches are drawn at random for the largest and the smallest backbone too."""

        def branches() -> dict[str, Any]:
            drawn = self.values(self.random_genotype(rng))
            return {name: value for name, value in drawn.items() if ".exit" in name}

        bits = {"bits": self.draw_bits(rng)}
        backbones = [self._values(-1), self._values(0)]
        backbones += [self.values(self.random_genotype(rng)) for _ in range(count)]
        return [
            tuple(self._build(backbone | branches() | bits, all_exits=True) for _ in range(1 + variants))
            for backbone in backbones
        ]

    def _extreme(self, index: int, pick: Callable[..., Any]) -> dict[str, Any]:
        """Every gene at choice `index`, but depth, operators and pooling of each branch as `pick` has it of their
        MACs."""
        values, o = self._values(index), self.options
        for i, stage in enumerate(layers(self._build(values, all_exits=True))):
            shape = stage.backbone[-1].shape_out
            values = extreme_branch(o, values, i, shape, o.activations[i], self.classes, pick)
        return values

    def _values(self, index: int) -> dict[str, Any]:
        return {gene.name: gene.choices[index] for gene in self.genes}

    def _build(self, values: Mapping[str, Any], all_exits: bool = False) -> Architecture:
        o, stages = self.options, []
        width, size = values["stem.width"], self.input[1:]
        stem_stride = values["stem.stride"] if self._stem_may_halve else 1
        stem = Conv(out=width, kernel=3, stride=stem_stride, act=o.activations[0])
        size = _halved(size, stem_stride)
        early = self.stages - 1 if all_exits else o.max_exits - 1
        for i in range(self.stages):
            stride = o.strides[i] if min(size) // 2 >= SMALLEST_MAP else 1
            size = _halved(size, stride)
            blocks: list[Any] = [] if i else [stem]
            for j in range(values[f"{i}.depth"]):
                blocks.append(_bottleneck(values, i, j, width, stride if j == 0 else 1, o.activations[i]))
                width = blocks[-1].out
            last = i == self.stages - 1
            present = last or (early > 0 and (all_exits or values[f"{i}.exit"]))
            early -= present
            branch = branch_of(o, values, i, size, o.activations[i]) if present else None
            stages.append(Stage(blocks=tuple(blocks), exit=branch))
        precision = self.precision(values)
        return Architecture(input=self.input, classes=self.classes, stages=tuple(stages), precision=precision)


def _halved(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Height and width of a map behind a padded layer of this stride."""
    return -(-size[0] // stride), -(-size[1] // stride)


def _genes(o: OfframpOptions) -> list[Gene]:
    genes = [Gene("stem.stride", tuple(reversed(o.stem_strides))), Gene("stem.width", o.stem_widths)]
    for i, (widths, depths) in enumerate(zip(o.widths, o.depths)):
        genes += [Gene(f"{i}.width", widths), Gene(f"{i}.depth", depths), Gene(f"{i}.squeeze", o.squeeze_excite)]
        for j in range(max(depths)):
            genes += [Gene(f"{i}.{j}.kernel", o.kernels), Gene(f"{i}.{j}.expansion", o.expansions)]
        if i < len(o.widths) - 1:
            genes.append(Gene(f"{i}.exit", (False, True)))
        genes += branch_genes(o, i)
    return genes


def _bottleneck(values: Mapping[str, Any], i: int, j: int, width: int, stride: int, act: Activation) -> Bottleneck:
    hidden = width * values[f"{i}.{j}.expansion"]
    squeeze = max(8, hidden // 4) if values[f"{i}.squeeze"] else 0
    out, kernel = values[f"{i}.width"], values[f"{i}.{j}.kernel"]
    return Bottleneck(out=out, hidden=hidden, kernel=kernel, stride=stride, squeeze=squeeze, act=act)


def _read(architecture: Architecture) -> dict[str, Any]:
    """Gene values of an architecture; what does not fit is found when it is built again and compared."""
    stem = architecture.stages[0].blocks[0]
    if not isinstance(stem, Conv):
        raise ValueError(f"stages.0.blocks.0 is a {stem.kind}; a network of this space begins with a conv")
    values: dict[str, Any] = {"stem.stride": stem.stride, "stem.width": stem.out}
    width = stem.out
    for i, stage in enumerate(architecture.stages):
        blocks = [block for block in stage.blocks if isinstance(block, Bottleneck)]
        values |= {f"{i}.depth": len(blocks)}
        for j, block in enumerate(blocks):
            values |= {f"{i}.width": block.out, f"{i}.squeeze": block.squeeze > 0}
            values |= {f"{i}.{j}.kernel": block.kernel, f"{i}.{j}.expansion": block.hidden // width}
            width = block.out
        if stage.exit is not None:
            early = {f"{i}.exit": True} if i < len(architecture.stages) - 1 else {}
            values |= early | read_branch(stage.exit, i)
    return values
