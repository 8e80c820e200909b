"""The space of EDANAS (Gambella & Roveri, IJCNN 2023): exits of one kind, their thresholds searched too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from offramp.architecture import Architecture, Branch
from offramp.spaces._check import checked
from offramp.spaces._mobilenet import (
    ABSENT,
    EARLY,
    Backbone,
    ThresholdOptions,
    assemble,
    head,
    read_thresholds,
    threshold_genes,
    threshold_values,
)
from offramp.spaces.base import Candidate, Genotype, SearchSpace

EdanasOptions = ThresholdOptions


class EdanasSpace(SearchSpace):
    """Once-for-All's MobileNetV3, up to four early exits, and a threshold for each.

    Genes: `bits`, where there is a choice; those of the backbone (see `Backbone`); then `i.threshold` for the exit
    behind stage i, for the first four stages. A candidate's thresholds are those of the early exits it has, in order,
    None where it has none. They are compared with the confidence measure `margin` (softmax of the first class minus
    that of the second).

    An early exit on C channels is Once-for-All's own head in small: pointwise to 6 C, mean, hidden layer of 8 C.
    """

    Options = EdanasOptions
    name = "edanas"
    once_for_all = True

    def __init__(self, input: tuple[int, int, int], classes: int, options: EdanasOptions | None = None) -> None:
        self.input, self.classes = input, classes
        self.options = options or EdanasOptions()
        self.backbone = Backbone(self.options)
        self.bits = self.options.bits
        self.genes = (*self.bits_genes(), *self.backbone.all_genes(), *threshold_genes(self.options.thresholds))

    def decode(self, genotype: Sequence[int]) -> Candidate:
        """See `SearchSpace.decode`."""
        values = self.values(genotype)
        present, thresholds = read_thresholds(values)
        return Candidate(self._build(values, present), thresholds)

    def encode(self, candidate: Candidate) -> Genotype:
        """See `SearchSpace.encode`."""
        thresholds = threshold_values(candidate)
        values = self.backbone.values([stage.blocks for stage in candidate.architecture.stages])
        return checked(self, candidate, values | thresholds)

    def size(self) -> int:
        """See `SearchSpace.size`; exact, candidates that differ in thresholds alone counted apart."""
        return len(self.bits) * self.backbone.size() * len(self.options.thresholds) ** len(EARLY)

    def smallest(self) -> Architecture:
        """See `SearchSpace.smallest`; with every exit where the options do not let any be absent."""
        values = self.backbone.smallest() | {"bits": self.bits[0]}
        return self._build(values, () if ABSENT in self.options.thresholds else EARLY)

    def largest(self) -> Architecture:
        """See `SearchSpace.largest`."""
        return self._build(self.backbone.largest(), EARLY)

    def cover(self) -> list[Architecture]:
        """See `SearchSpace.cover`: the largest network holds them all."""
        return [self.largest()]

    def sandwich(self, rng: np.random.Generator, count: int, variants: int = 0) -> list[tuple[Architecture, ...]]:
        """See `SearchSpace.sandwich`; one architecture each whatever `variants` is, as there is one kind of exit."""
        bits = {"bits": self.draw_bits(rng)}
        backbones = [self.backbone.largest(), self.backbone.smallest()]
        backbones += [self.values(self.random_genotype(rng)) for _ in range(count)]
        return [(self._build(values | bits, EARLY),) for values in backbones]

    def _build(self, values: Mapping[str, Any], exits: Sequence[int]) -> Architecture:
        early: list[Branch | None] = [
            head(6 * c, 8 * c) if i in exits else None for i, c in enumerate(self.backbone.widths[:-1])
        ]
        return assemble(self, values, self.backbone.stages(values), [*early, self.backbone.final_exit()])
