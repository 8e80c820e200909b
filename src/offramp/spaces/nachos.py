"""The space of NACHOS (Gambella et al., arXiv 2401.13330): exits that must not cost more than the exits behind them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from offramp.architecture import Activate, Architecture, Block, Branch, Conv, Pool
from offramp.layers import Shape, branch_layers, layers
from offramp.spaces._check import Ascending, checked
from offramp.spaces._mobilenet import STAGES, Backbone, BackboneOptions, assemble
from offramp.spaces.base import Candidate, Gene, Genotype, SearchSpace

POOLS = (1, 2, 4)
"""Kernels of the max pooling that the adapter may put before an exit; 1 stands for none."""


class NachosOptions(BackboneOptions):
    """What may be chosen in the backbone; channels of an early exit's convolutions; what the adapter may pool by."""

    branch_widths: tuple[PositiveInt, ...] = Field(
        (32, 64, 128), min_length=1, description="channels of an early exit's convolutions"
    )
    pools: Ascending[PositiveInt] = Field(
        POOLS, description="what the adapter may pool by before an exit; 1: not at all"
    )

    @model_validator(mode="after")
    def _pools_begin_with_none(self) -> NachosOptions:
        if self.pools[0] != 1:
            raise ValueError(f"pools is {self.pools}; it must begin with 1, which stands for no pooling")
        return self


class NachosSpace(SearchSpace):
    """Once-for-All's MobileNetV3 and one to four early exits, which the adapter (`adapt`) fits in.

    Genes: `bits`, where there is a choice; those of the backbone (see `Backbone`); then `i.exit`, whether there is an
    exit behind stage i, for the first four stages. A network without early exits is not in the space: where stages 0 to
    2 have none, stage 3 has one, and `3.exit` is inactive. So each of the paper's 15 vectors is one canonical genotype,
    and every genotype is valid.

    An early exit has a gate, and no pooling of its own: (max pooling,) ReLU, three convolutions with ReLU, one linear
    layer of classes and gate. The final exit is Once-for-All's.
    """

    Options = NachosOptions
    name = "nachos"
    once_for_all = True

    def __init__(self, input: tuple[int, int, int], classes: int, options: NachosOptions | None = None) -> None:
        self.input, self.classes = input, classes
        self.options = options or NachosOptions()
        self.backbone = Backbone(self.options)
        exits = (Gene(f"{i}.exit", (False, True)) for i in range(STAGES - 1))
        self.bits = self.options.bits
        self.genes = (*self.bits_genes(), *self.backbone.all_genes(), *exits)

    def decode(self, genotype: Sequence[int]) -> Candidate:
        """See `SearchSpace.decode`."""
        values = self.values(genotype)
        chosen = tuple(i for i in range(STAGES - 1) if values[f"{i}.exit"])
        return Candidate(self._adapted(values, chosen or (STAGES - 2,)))

    def encode(self, candidate: Candidate) -> Genotype:
        """See `SearchSpace.encode`."""
        architecture = candidate.architecture
        values = self.backbone.values([stage.blocks for stage in architecture.stages])
        early = [i for i in architecture.exits if i < STAGES - 1]
        if early != [STAGES - 2]:  # that one is there without its gene
            values |= {f"{i}.exit": True for i in early}
        return checked(self, candidate, values)

    def size(self) -> int:
        """See `SearchSpace.size`; exact."""
        return len(self.bits) * self.backbone.size() * (2 ** (STAGES - 1) - 1)

    def smallest(self) -> Architecture:
        """The candidate with the fewest MACs; it has one early exit, as every candidate has one."""
        values = self.backbone.smallest() | {"bits": self.bits[0]}
        found = [self._adapted(values, (i,)) for i in range(STAGES - 1)]
        return min(found, key=_macs)

    def largest(self) -> Architecture:
        """The largest backbone with every exit, each pooled as where it stands alone.

        No candidate has more MACs. It need not be one itself: exits that stand alone are compared with the final exit
        and pooled less than where another stands between.
        """
        values = self.backbone.largest()
        alone = [self._adapted(values, (i,)).stages[i].exit for i in range(STAGES - 1)]
        return assemble(self, values, self.backbone.stages(values), [*alone, self.backbone.final_exit()])

    def cover(self) -> list[Architecture]:
        """See `SearchSpace.cover`: the largest backbone, its exits with every pooling that fits their maps."""
        blocks = self.backbone.stages(self.backbone.largest())
        fitting = self._fitting(blocks)
        return [
            self._pooled({}, blocks, [some[min(n, len(some) - 1)] for some in fitting])
            for n in range(len(self.options.pools))
        ]

    def sandwich(self, rng: np.random.Generator, count: int, variants: int = 0) -> list[tuple[Architecture, ...]]:
        """See `SearchSpace.sandwich`; which pooling each exit has is drawn, so that all of them learn."""
        bits = {"bits": self.draw_bits(rng)}
        backbones = [self.backbone.largest(), self.backbone.smallest()]
        backbones += [self.values(self.random_genotype(rng)) for _ in range(count)]
        return [self._variants(values | bits, rng, 1 + variants) for values in backbones]

    def _variants(self, values: Mapping[str, Any], rng: np.random.Generator, count: int) -> tuple[Architecture, ...]:
        blocks = self.backbone.stages(values)
        orders = [rng.permutation(fitting).tolist() for fitting in self._fitting(blocks)]
        return tuple(self._pooled(values, blocks, [order[n % len(order)] for order in orders]) for n in range(count))

    def _adapted(self, values: Mapping[str, Any], exits: Collection[int]) -> Architecture:
        branches = [self._branch() if i in exits else None for i in range(STAGES - 1)]
        plain = assemble(self, values, self.backbone.stages(values), [*branches, self.backbone.final_exit()])
        return adapt(plain, self.options.pools)

    def _fitting(self, blocks: Sequence[tuple[Block, ...]]) -> list[list[int]]:
        """For every early exit the poolings that its map is large enough for."""
        plain = assemble(self, {}, blocks, [*[None] * (STAGES - 1), self.backbone.final_exit()])
        return [fitting(self.options.pools, stage.backbone[-1].shape_out) for stage in layers(plain)[:-1]]

    def _pooled(
        self, values: Mapping[str, Any], blocks: Sequence[tuple[Block, ...]], kernels: Sequence[int]
    ) -> Architecture:
        """Every exit present, pooled by `kernels`; `values` give the bits."""
        early = [with_pool(self._branch(), kernel) for kernel in kernels]
        return assemble(self, values, blocks, [*early, self.backbone.final_exit()])

    def _branch(self) -> Branch:
        convolutions = (Conv(out=out, kernel=3, act="relu", norm=False) for out in self.options.branch_widths)
        return Branch(blocks=(Activate(act="relu"), *convolutions), pool="none", gate=True)


def adapt(architecture: Architecture, kernels: Sequence[int] = POOLS) -> Architecture:
    """NACHOS' Algorithm 1: put a max pooling before exits that cost more than the exit behind them.

    The cost of exit i is gamma_i = MACs(backbone up to it) + MACs(its own branch) (13); the branches of earlier exits
    are free here, whatever rule the rest of the run counts by. From the second-last exit backwards, exit i gets the
    smallest pooling of `kernels` with gamma_i <= gamma_{i+1}. Where none restores that order it keeps the largest that
    fits its map: its cost is then as low as can be, and still above that of the exit behind it.

    A max pooling that a branch already begins with is replaced, so adapting twice is adapting once.

    Args:
        architecture: a network whose early exits are to be adapted; its final exit stays as it is.
        kernels: ascending, beginning with 1, which stands for no pooling.
    """
    found, stages = layers(architecture), list(architecture.stages)
    final = architecture.exits[-1]
    upto = list(accumulate(sum(layer.macs for layer in stage.backbone) for stage in found))
    behind = upto[final] + sum(layer.macs for layer in found[final].branch)
    for i in reversed(architecture.exits[:-1]):
        branch, shape = stages[i].exit, found[i].backbone[-1].shape_out
        assert branch is not None
        for pooled in (with_pool(branch, kernel) for kernel in fitting(kernels, shape)):
            gamma = upto[i] + sum(layer.macs for layer in branch_layers(pooled, shape, architecture.classes))
            if gamma <= behind:
                break
        stages[i] = stages[i].model_copy(update={"exit": pooled})
        behind = gamma
    return architecture.model_copy(update={"stages": tuple(stages)})


def fitting(kernels: Sequence[int], shape: Shape) -> list[int]:
    """Those of `kernels` that a map of `shape` is large enough to be pooled by; 1 always is."""
    return [kernel for kernel in kernels if kernel <= min(shape[1:])]


def with_pool(branch: Branch, kernel: int) -> Branch:
    """`branch` with a max pooling by `kernel` put first, in the place of one that is there already; 1 for none."""
    blocks = branch.blocks
    if blocks and isinstance(blocks[0], Pool) and blocks[0].how == "max":
        blocks = blocks[1:]
    pool: tuple[Block, ...] = (Pool(kernel=kernel, how="max"),) if kernel > 1 else ()
    return branch.model_copy(update={"blocks": pool + blocks})


def _macs(architecture: Architecture) -> int:
    return sum(layer.macs for stage in layers(architecture) for layer in (*stage.backbone, *stage.branch))
