"""A space of 120 candidates with every kind of gene: numbers, flags, names, tuples, inactive, without choice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from offramp.architecture import Architecture, Branch, Conv, Stage
from offramp.spaces import Candidate, Gene, Genotype, SearchSpace


class ToySpace(SearchSpace):
    name = "toy"
    input = (1, 8, 8)
    classes = 3
    genes = (
        Gene("width", (4, 8, 16)),
        Gene("deep", (False, True)),
        Gene("second", (4, 8, 16, 32)),  # only where deep
        Gene("pool", ("avg", "max")),
        Gene("kernels", ((3, 1), (1, 3))),
        Gene("exit", (False, True)),
        Gene("stride", (1,)),
    )

    def decode(self, genotype: Sequence[int]) -> Candidate:
        v = self.values(genotype)
        blocks = [Conv(out=v["width"], kernel=v["kernels"][0], stride=v["stride"])]
        if v["deep"]:
            blocks.append(Conv(out=v["second"], kernel=5))
        first = Stage(blocks=tuple(blocks), exit=Branch() if v["exit"] else None)
        last = Stage(blocks=(Conv(out=8, kernel=v["kernels"][1]),), exit=Branch(pool=v["pool"]))
        return Candidate(Architecture(input=self.input, classes=self.classes, stages=(first, last)))

    def encode(self, candidate: Candidate) -> Genotype:
        first, last = candidate.architecture.stages
        stem, *more = first.blocks
        values = {"width": stem.out, "deep": bool(more), "pool": last.exit.pool, "exit": first.exit is not None}
        values |= {"kernels": (stem.kernel, last.blocks[0].kernel)} | ({"second": more[0].out} if more else {})
        return self.indices(values)

    def size(self) -> int:
        return 3 * (1 + 4) * 2 * 2 * 2

    def smallest(self) -> Architecture:
        return self.decode([0] * len(self.genes)).architecture

    def largest(self) -> Architecture:
        return self.decode([len(gene.choices) - 1 for gene in self.genes]).architecture

    def cover(self) -> list[Architecture]:
        raise NotImplementedError

    def sandwich(self, rng: np.random.Generator, count: int) -> list[Architecture]:
        raise NotImplementedError
