"""The space of AEBNAS (Robben et al., arXiv 2512.10671): the architecture of every exit's branch is searched too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from offramp.architecture import Architecture, Block, Branch, Conv, Kernel, Pool, Resize
from offramp.layers import Shape, branch_layers
from offramp.spaces._check import Ascending, checked
from offramp.spaces._mobilenet import (
    ABSENT,
    EARLY,
    Backbone,
    ThresholdOptions,
    assemble,
    read_thresholds,
    threshold_genes,
    threshold_values,
)
from offramp.spaces.base import Candidate, Gene, Genotype, SearchSpace

_NONE = 0  # the size that stands for "no second module"


class AebnasOptions(ThresholdOptions):
    """What may be chosen in the backbone; sizes that images are resized to; an early exit's thresholds and branch.

    Of the `thresholds`, 1 stands for "no exit here". A branch has one of `branch_modules` modules; each resizes its map
    to one of `branch_sizes`, has a convolution of stride 2 without padding, of one of `branch_kernels`, to one of
    `branch_expansions` times its channels, and max pooling or not (`branch_pools`).
    """

    resolutions: Ascending[PositiveInt] = Field(
        tuple(range(32, 73, 4)), description="that images are resized to in the network"
    )
    branch_modules: Ascending[Literal[1, 2]] = Field((1, 2), description="of a branch")
    branch_sizes: Ascending[PositiveInt] = Field((8, 10), description="that a module resizes its map to")
    branch_kernels: Ascending[Kernel] = Field((3, 5), description="of a module's convolution")
    branch_expansions: Ascending[PositiveInt] = Field((1, 2), description="of its channels")
    branch_pools: Ascending[bool] = Field((False, True), description="whether a module ends with max pooling")

    @model_validator(mode="after")
    def _branches_fit(self) -> AebnasOptions:
        pool = 2 if self.branch_pools[-1] else 1
        if (self.branch_sizes[0] - self.branch_kernels[-1]) // 2 + 1 < pool:
            raise ValueError(
                f"branch_sizes begin with {self.branch_sizes[0]}; behind a convolution of kernel "
                f"{self.branch_kernels[-1]} and stride 2, fewer than {pool} x {pool} values are left"
            )
        return self


class AebnasSpace(SearchSpace):
    """Once-for-All's MobileNetV3 at a searched resolution, and up to four early exits with a branch of their own each.

    Genes: `bits`, where there is a choice; those of the backbone (see `Backbone`); `resolution`; `i.threshold` for the
    exit behind stage i, for the first four stages (compared with the confidence measure `margin`; 1: no exit there);
    then for those stages, inactive without the exit, and for the modules j = 0 and 1 of the branch `i.exit.j.size`,
    `.kernel`, `.expansion`, `.pool`. `i.exit.1.size` is 0 where there is one module only, and the other genes of module
    1 are inactive then.

    Images keep the task's size; the network begins by resizing them, unless they have the resolution already.
    """

    Options = AebnasOptions
    name = "aebnas"
    once_for_all = True

    def __init__(self, input: tuple[int, int, int], classes: int, options: AebnasOptions | None = None) -> None:
        self.input, self.classes = input, classes
        self.options = options or AebnasOptions()
        self.backbone = Backbone(self.options)
        self.bits = self.options.bits
        self._by_macs = [self._extremes(channels) for channels in self.backbone.widths[:-1]]
        self.genes = tuple(self._genes())

    def decode(self, genotype: Sequence[int]) -> Candidate:
        """See `SearchSpace.decode`."""
        values = self.values(genotype)
        present, thresholds = read_thresholds(values)
        return Candidate(self._build(values, present), thresholds)

    def encode(self, candidate: Candidate) -> Genotype:
        """See `SearchSpace.encode`."""
        architecture, thresholds = candidate.architecture, threshold_values(candidate)
        values = self.backbone.values([stage.blocks for stage in architecture.stages])
        first, (height, width) = architecture.stages[0].blocks[0], architecture.input[1:]
        plain = height if height == width else (height, width)
        values["resolution"] = first.size if isinstance(first, Resize) else plain
        for i in architecture.exits[:-1]:
            branch = architecture.stages[i].exit
            if branch is not None and i in EARLY:
                values |= _read(branch, i, self.backbone.widths[i])
        return checked(self, candidate, values | thresholds)

    def size(self) -> int:
        """See `SearchSpace.size`; exact, candidates that differ in thresholds alone counted apart."""
        o = self.options
        present = len([threshold for threshold in o.thresholds if threshold < ABSENT])
        module = len(o.branch_sizes) * len(o.branch_kernels) * len(o.branch_expansions) * len(o.branch_pools)
        branches = sum(module**count for count in o.branch_modules)
        per_exit = present * branches + (ABSENT in o.thresholds)
        return len(self.bits) * self.backbone.size() * len(o.resolutions) * per_exit ** len(EARLY)

    def branches(self, channels: int) -> Iterator[Branch]:
        """Every branch that an exit behind a map of so many channels may have, 272 with the default options."""
        return (_branch(values, "", channels) for values in self._choices())

    def smallest(self) -> Architecture:
        """See `SearchSpace.smallest`; with every exit where the options do not let any be absent."""
        fixed = {"bits": self.bits[0], "resolution": self.options.resolutions[0]}
        values = self.backbone.smallest() | fixed | self._extreme_branches(0)
        return self._build(values, () if ABSENT in self.options.thresholds else EARLY)

    def largest(self) -> Architecture:
        """See `SearchSpace.largest`."""
        values = self.backbone.largest() | {"resolution": self.options.resolutions[-1]} | self._extreme_branches(-1)
        return self._build(values, EARLY)

    def cover(self) -> list[Architecture]:
        """See `SearchSpace.cover`: widths and kernels nest, so that one network holds them all."""
        return [self._build({gene.name: gene.choices[-1] for gene in self.genes}, EARLY)]

    def sandwich(self, rng: np.random.Generator, count: int, variants: int = 0) -> list[tuple[Architecture, ...]]:
        """See `SearchSpace.sandwich`; one resolution is drawn for all networks of the step.

        So the smallest network learns from a largest one that sees the same images; "largest" and "smallest" are those
        of that resolution. Branches are drawn at random for them too.
        """
        shared: dict[str, Any] = {"bits": self.draw_bits(rng)}
        shared["resolution"] = self.options.resolutions[rng.integers(len(self.options.resolutions))]
        backbones = [self.backbone.largest(), self.backbone.smallest()]
        backbones += [self.values(self.random_genotype(rng)) for _ in range(count)]

        def branches() -> dict[str, Any]:
            drawn = self.values(self.random_genotype(rng))
            return {name: value for name, value in drawn.items() if ".exit." in name}

        return [
            tuple(self._build(backbone | branches() | shared, EARLY) for _ in range(1 + variants))
            for backbone in backbones
        ]

    def _genes(self) -> Iterator[Gene]:
        yield from self.bits_genes()
        yield from self.backbone.all_genes()
        yield Gene("resolution", self.options.resolutions)
        yield from threshold_genes(self.options.thresholds)
        for i in EARLY:
            yield from (Gene(f"{i}.exit.{name}", choices) for name, choices in self._of_branch())

    def _of_branch(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Names and choices of a branch's genes."""
        o = self.options
        for j in range(o.branch_modules[-1]):
            none = (_NONE,) if j and o.branch_modules[0] == 1 else ()
            yield f"{j}.size", (*none, *o.branch_sizes)
            yield f"{j}.kernel", o.branch_kernels
            yield f"{j}.expansion", o.branch_expansions
            yield f"{j}.pool", o.branch_pools

    def _choices(self) -> Iterator[dict[str, Any]]:
        """The gene values of every branch, once each."""
        names, choices = zip(*self._of_branch())
        for chosen in product(*choices):
            values = dict(zip(names, chosen))
            inactive = [v != c[0] for n, v, c in zip(names, chosen, choices) if n[0] == "1"]
            if values.get("1.size") or not any(inactive):
                yield values

    def _extremes(self, channels: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The gene values of the branches with the fewest and the most MACs; they depend on the channels alone."""

        def macs(values: Mapping[str, Any]) -> int:
            shape = Shape(channels, 1, 1)  # any size: the branch begins by resizing
            return sum(layer.macs for layer in branch_layers(_branch(values, "", channels), shape, self.classes))

        ordered = sorted(self._choices(), key=macs)
        return ordered[0], ordered[-1]

    def _extreme_branches(self, which: Literal[0, -1]) -> dict[str, Any]:
        return {f"{i}.exit.{name}": value for i in EARLY for name, value in self._by_macs[i][which].items()}

    def _build(self, values: Mapping[str, Any], exits: Sequence[int]) -> Architecture:
        blocks = list(self.backbone.stages(values))
        size = values["resolution"]
        if self.input[1:] != (size, size):
            blocks[0] = (Resize(size=size), *blocks[0])
        widths = self.backbone.widths
        early = [_branch(values, f"{i}.exit.", widths[i]) if i in exits else None for i in EARLY]
        return assemble(self, values, blocks, [*early, self.backbone.final_exit()])


def _branch(values: Mapping[str, Any], prefix: str, channels: int) -> Branch:
    """The branch that the genes `prefix` + `j.size` and so on ask for."""
    blocks: list[Block] = []
    for j in range(2):
        size = values.get(f"{prefix}{j}.size", _NONE)
        if size == _NONE:
            continue
        kernel, pool = values[f"{prefix}{j}.kernel"], values[f"{prefix}{j}.pool"]
        channels *= values[f"{prefix}{j}.expansion"]
        blocks += [Resize(size=size), Conv(out=channels, kernel=kernel, stride=2, act="relu", pad=False)]
        blocks += [Pool(kernel=2, how="max")] if pool else []
    return Branch(blocks=tuple(blocks))


def _read(branch: Branch, i: int, channels: int) -> dict[str, Any]:
    """The gene values that a branch reads like; what does not fit shows when it is built again and compared."""
    values: dict[str, Any] = {}
    j = -1
    for block in branch.blocks:
        if isinstance(block, Resize):
            j += 1
            values |= {f"{i}.exit.{j}.size": block.size, f"{i}.exit.{j}.pool": False}
        elif isinstance(block, Conv):
            values |= {f"{i}.exit.{j}.kernel": block.kernel, f"{i}.exit.{j}.expansion": block.out // channels}
            channels = block.out
        elif isinstance(block, Pool):
            values[f"{i}.exit.{j}.pool"] = True
    return values
