"""The space of EDANAS (Gambella & Roveri, IJCNN 2023): exits of one kind, their thresholds searched too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from offramp.architecture import Architecture, Branch
from offramp.spaces._check import check_ascending
from offramp.spaces._mobilenet import STAGES, Backbone, BackboneOptions, assemble, checked, head
from offramp.spaces.base import Candidate, Gene, Genotype, SearchSpace

ABSENT = 1.0
"""The threshold that stands for "no exit here": no margin exceeds it."""


class EdanasOptions(BackboneOptions):
    """What may be chosen in the backbone, and an early exit's thresholds, of which 1 stands for "no exit here"."""

    thresholds: tuple[Annotated[float, Field(gt=0, le=ABSENT)], ...] = (0.1, 0.2, ABSENT)

    @model_validator(mode="after")
    def _thresholds_ascend(self) -> EdanasOptions:
        check_ascending("thresholds", self.thresholds)
        return self


class EdanasSpace(SearchSpace):
    """Once-for-All's MobileNetV3, up to four early exits, and a threshold for each.

    Genes: those of the backbone (see `Backbone`), then `i.threshold` for the exit behind stage i, for the first four
    stages. A candidate's thresholds are those of the early exits it has, in order, None where it has none. They are
    compared with the confidence measure `margin` (softmax of the first class minus that of the second).

    An early exit on C channels is Once-for-All's own head in small: pointwise to 6 C, mean, hidden layer of 8 C.
    """

    name = "edanas"
    transforms_kernels = True

    def __init__(self, input: tuple[int, int, int], classes: int, options: EdanasOptions | None = None) -> None:
        self.input, self.classes = input, classes
        self.options = options or EdanasOptions()
        self.backbone = Backbone(self.options)
        thresholds = (Gene(f"{i}.threshold", self.options.thresholds) for i in range(STAGES - 1))
        self.genes = (*self.backbone.all_genes(), *thresholds)

    def decode(self, genotype: Sequence[int]) -> Candidate:
        """See `SearchSpace.decode`."""
        values = self.values(genotype)
        thresholds = [values[f"{i}.threshold"] for i in range(STAGES - 1)]
        present = [i for i, threshold in enumerate(thresholds) if threshold < ABSENT]
        return Candidate(self._build(values, present), tuple(thresholds[i] for i in present) or None)

    def encode(self, candidate: Candidate) -> Genotype:
        """See `SearchSpace.encode`."""
        architecture, thresholds = candidate.architecture, candidate.thresholds or ()
        early = architecture.exits[:-1]
        if len(thresholds) != len(early):
            raise ValueError(f"thresholds is {candidate.thresholds}; the {len(early)} early exits need one each")
        values = self.backbone.values([stage.blocks for stage in architecture.stages])
        values |= {f"{i}.threshold": ABSENT for i in range(STAGES - 1)}
        values |= {f"{i}.threshold": threshold for i, threshold in zip(early, thresholds)}
        return checked(self, candidate, values)

    def size(self) -> int:
        """See `SearchSpace.size`; exact, candidates that differ in thresholds alone counted apart."""
        return self.backbone.size() * len(self.options.thresholds) ** (STAGES - 1)

    def smallest(self) -> Architecture:
        """See `SearchSpace.smallest`; with every exit where the options do not let any be absent."""
        return self._build(self.backbone.smallest(), () if ABSENT in self.options.thresholds else range(STAGES - 1))

    def largest(self) -> Architecture:
        """See `SearchSpace.largest`."""
        return self._build(self.backbone.largest(), range(STAGES - 1))

    def cover(self) -> list[Architecture]:
        """See `SearchSpace.cover`: the largest network holds them all."""
        return [self.largest()]

    def sandwich(self, rng: np.random.Generator, count: int, variants: int = 0) -> list[tuple[Architecture, ...]]:
        """See `SearchSpace.sandwich`; one architecture each whatever `variants` is, as there is one kind of exit."""
        backbones = [self.backbone.largest(), self.backbone.smallest()]
        backbones += [self.values(self.random_genotype(rng)) for _ in range(count)]
        return [(self._build(values, range(STAGES - 1)),) for values in backbones]

    def _build(self, values: Mapping[str, Any], exits: Sequence[int]) -> Architecture:
        early: list[Branch | None] = [
            head(6 * c, 8 * c) if i in exits else None for i, c in enumerate(self.backbone.widths[:-1])
        ]
        return assemble(self, self.backbone.stages(values), [*early, self.backbone.final_exit()])
