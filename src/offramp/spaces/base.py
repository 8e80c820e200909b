"""What a search space is: named genes, and the map between their values and candidates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from offramp.architecture import Architecture, Precision
from offramp.spaces._bits import FLOAT, Pair, SpaceOptions, precision_of

Genotype = tuple[int, ...]
"""For every gene, in order, the index of its value among the gene's choices."""


class Gene(NamedTuple):
    """A named decision and what may be chosen, in ascending order where there is one."""

    name: str
    choices: tuple[Any, ...]


@dataclass(frozen=True)
class Candidate:
    """What is evaluated: an architecture, and the thresholds where a space searches those too."""

    architecture: Architecture
    thresholds: tuple[float, ...] | None = None


class SearchSpace(ABC):
    """A set of candidates, given by `genes`.

    A gene may be inactive, as the kernel of an absent block is; `canonical` sets inactive genes to index 0, so that
    equal candidates have equal canonical genotypes.
    """

    Options: ClassVar[type[SpaceOptions]] = SpaceOptions
    """What its options are an instance of: the third argument of its constructor, behind `input` and `classes`."""
    name: str
    input: tuple[int, int, int]
    classes: int
    genes: tuple[Gene, ...]
    bits: tuple[Pair, ...] = FLOAT
    """What its networks may be computed at, ascending: bits of the backbone and of the branches. The gene `bits` of
    `bits_genes` chooses; the smallest network has the fewest, the largest and the cover have the most."""
    once_for_all: bool = False
    """Whether the backbone is Once-for-All's: its supernet learns how large depthwise kernels become smaller ones,
    where others cut them out."""
    one_backbone: bool = False
    """Whether all networks have the same backbone, without gates, and `cover` holds every branch at its place: they
    can be scored together then."""

    @abstractmethod
    def decode(self, genotype: Sequence[int]) -> Candidate:
        """The candidate of a genotype of length `len(genes)`.

        Raises:
            ValueError: wrong length, or an index outside the gene's choices.
        """

    @abstractmethod
    def encode(self, candidate: Candidate) -> Genotype:
        """The canonical genotype of a candidate: `decode(encode(c)) == c`.

        Raises:
            ValueError: the candidate lies outside this space; the message names what does not fit.
        """

    @abstractmethod
    def size(self) -> int:
        """How many different candidates there are."""

    @abstractmethod
    def smallest(self) -> Architecture:
        """The network with the fewest MACs; it has no early exit, unless every candidate of the space has one."""

    @abstractmethod
    def largest(self) -> Architecture:
        """The network with the most MACs, every exit present (even where a candidate may not have that many)."""

    @abstractmethod
    def cover(self) -> list[Architecture]:
        """Architectures whose weights together hold those of every architecture of the space (for a supernet)."""

    @abstractmethod
    def sandwich(self, rng: np.random.Generator, count: int, variants: int = 0) -> list[tuple[Architecture, ...]]:
        """The networks of one supernet step, all exits present: largest, smallest, and `count` random backbones.

        All at the same bits, which are drawn, so that those imitate the largest that compute as it does.
        Each comes as a tuple of 1 + `variants` architectures that differ in their exit branches only: a backbone's
        features are the costly part, so several branches can learn from one computation of them.
        """

    def bits_genes(self) -> tuple[Gene, ...]:
        """The gene `bits`; none where there is no choice."""
        return (Gene("bits", self.bits),) if len(self.bits) > 1 else ()

    def draw_bits(self, rng: np.random.Generator) -> Pair:
        """One of `bits`."""
        return self.bits[rng.integers(len(self.bits))]

    def precision(self, values: Mapping[str, Any]) -> Precision:
        """Of the network with these gene values; that of the most bits where they name none."""
        return precision_of(values.get("bits", self.bits[-1]))

    def canonical(self, genotype: Sequence[int]) -> Genotype:
        """`genotype` with its inactive genes at 0."""
        return self.encode(self.decode(genotype))

    def random_genotype(self, rng: np.random.Generator) -> Genotype:
        """A genotype drawn uniformly, gene by gene; not yet canonical."""
        return tuple(int(rng.integers(len(gene.choices))) for gene in self.genes)

    def sample(self, seed: int | np.random.Generator = 0) -> Architecture:
        """The architecture of a random genotype; the same one for the same seed."""
        return self.decode(self.random_genotype(np.random.default_rng(seed))).architecture

    def values(self, genotype: Sequence[int]) -> dict[str, Any]:
        """Gene name -> chosen value; checks length and range."""
        if len(genotype) != len(self.genes):
            raise ValueError(f"genotype has {len(genotype)} genes; space {self.name!r} has {len(self.genes)}")
        for gene, index in zip(self.genes, genotype):
            if not 0 <= index < len(gene.choices):
                raise ValueError(f"gene {gene.name} has index {index}; allowed are 0 to {len(gene.choices) - 1}")
        return {gene.name: gene.choices[index] for gene, index in zip(self.genes, genotype)}

    def indices(self, values: dict[str, Any]) -> Genotype:
        """The genotype with these values; genes not named are inactive and get index 0."""
        found = []
        for gene in self.genes:
            value = values.get(gene.name, gene.choices[0])
            if value not in gene.choices:
                raise ValueError(f"{gene.name} is {value!r}; space {self.name!r} allows {list(gene.choices)}")
            found.append(gene.choices.index(value))
        return tuple(found)
