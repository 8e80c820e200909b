"""A backbone of one's own: it stays as it is; where it exits, and by which branches, is searched."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field, NonNegativeInt, ValidationError, model_validator

from offramp.architecture import Activation, Architecture, Stage
from offramp.layers import layers
from offramp.spaces._branches import (
    BranchOptions,
    branch_count,
    branch_genes,
    branch_of,
    cover_kinds,
    exit_ways,
    extreme_branch,
    read_branch,
)
from offramp.spaces._check import AscendingOrEmpty, checked
from offramp.spaces.base import Candidate, Gene, Genotype, SearchSpace


def _network(text: str) -> Architecture:
    """The architecture that `text` names or is.

    Raises:
        ValueError: there is no such file, or it holds none.
    """
    if text.lstrip().startswith("{"):
        try:
            return Architecture.from_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"no architecture: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    try:
        return Architecture.load(Path(text).expanduser())
    except (OSError, RuntimeError) as error:  # no such file; no such user
        told = getattr(error, "strerror", None) or error
        hint = "a run that has begun goes on without it by `offramp run DIR/recipe.toml`"
        raise ValueError(f"{text} cannot be read: {told}; {hint}") from error


def _named(text: str) -> str:
    _network(text)
    return text


class FixedOptions(BranchOptions):
    """`backbone` gives the stages, and the final exit; early exits that it has are not kept."""

    backbone: Annotated[str, AfterValidator(_named)] = Field(
        description="file of the network (an architecture.json) whose backbone and final exit these are, or its JSON"
    )
    exits: AscendingOrEmpty[NonNegativeInt] | None = Field(
        None, description="stages behind which an early exit may stand; default: all but the last"
    )

    @model_validator(mode="after")
    def _places_are_there(self) -> FixedOptions:
        count = len(self.network.stages)
        if wrong := [i for i in self.exits or () if i > count - 2]:
            raise ValueError(
                f"exits has {wrong[0]}; the backbone has {count} stages, and an early exit may stand behind 0 to "
                f"{count - 2}"
                if count > 1
                else "exits must be empty: the backbone has one stage, behind which the final exit stands"
            )
        return self

    @property
    def network(self) -> Architecture:
        """What `backbone` names or is."""
        return _network(self.backbone)

    @property
    def places(self) -> tuple[int, ...]:
        """Stages behind which an early exit may stand."""
        return tuple(range(len(self.network.stages) - 1)) if self.exits is None else self.exits

    @property
    def example(self) -> tuple[int, int, int]:
        """See `SpaceOptions.example`."""
        return self.network.input

    def settled(self) -> dict[str, Any]:
        """See `SpaceOptions.settled`."""
        return {"backbone": self.network.to_json()}


class FixedSpace(SearchSpace):
    """The backbone of a network of one's own, with an optional exit of the default space's kinds behind its stages.

    Genes: `bits`, where there is a choice; for each stage i of the option `exits` `i.exit` (absent or present), and for
    its branch those of the default space: `i.exit.depth`, `i.exit.width`, `i.exit.pool`, `i.exit.j.operator`. Where
    `max_exits` is exceeded, the exits nearest to the input stay. The final exit is the network's own. Layers of a
    branch have the last activation of their stage.

    Raises:
        ValueError: the backbone does not suit images of this shape.
    """

    Options = FixedOptions
    name = "fixed"

    def __init__(self, input: tuple[int, int, int], classes: int, options: FixedOptions) -> None:
        self.input, self.classes, self.options = input, classes, options
        self.bits = options.bits
        network, self._places = options.network, options.places
        self._stages = [stage.model_copy(update={"exit": None}) for stage in network.stages[:-1]]
        self._last = network.stages[-1]
        genes: list[Gene] = []
        for i in self._places:
            genes += [Gene(f"{i}.exit", (False, True)), *branch_genes(options, i)]
        self.genes = (*self.bits_genes(), *genes)
        bare = Architecture(input=input, classes=classes, stages=(*self._stages, self._last))
        try:
            self._shapes = [stage.backbone[-1].shape_out for stage in layers(bare)]
        except ValueError as error:
            raise ValueError(f"space.backbone does not suit images of shape {input}: {error}") from error

    def decode(self, genotype: Sequence[int]) -> Candidate:
        """See `SearchSpace.decode`."""
        values = self.values(genotype)
        present = [i for i in self._places if values[f"{i}.exit"]]
        return Candidate(self._build(values, present[: self.options.max_exits - 1]))

    def encode(self, candidate: Candidate) -> Genotype:
        """See `SearchSpace.encode`."""
        values: dict[str, Any] = {}
        for i, stage in enumerate(candidate.architecture.stages[:-1]):
            if stage.exit is not None:
                if i not in self._places:
                    raise ValueError(f"there is an exit behind stage {i}; allowed are {list(self._places)}")
                values |= {f"{i}.exit": True} | read_branch(stage.exit, i)
        return checked(self, candidate, values)

    def size(self) -> int:
        """See `SearchSpace.size`; exact."""
        branches = [branch_count(self.options, self._shapes[i][1:]) for i in self._places]
        return len(self.bits) * exit_ways(branches, self.options.max_exits - 1)

    def smallest(self) -> Architecture:
        """See `SearchSpace.smallest`: the network without early exits, at the fewest bits."""
        return self._build(self._values(0), ())

    def largest(self) -> Architecture:
        """See `SearchSpace.largest`."""
        values = self._values(-1)
        for i in self._places:
            values = extreme_branch(self.options, values, i, self._shapes[i], self._act(i), self.classes, max)
        return self._build(values, self._places)

    def cover(self) -> list[Architecture]:
        """See `SearchSpace.cover`: the backbone with every kind of branch."""
        values = self._values(-1)
        every = zip(*[cover_kinds(self.options, i) for i in self._places])
        found = [self._build({**values, **ChainMap(*kinds)}, self._places) for kinds in every]
        return found or [self._build(values, ())]

    def sandwich(self, rng: np.random.Generator, count: int, variants: int = 0) -> list[tuple[Architecture, ...]]:
        """See `SearchSpace.sandwich`; one tuple whatever `count` is, as there is one backbone; branches are drawn."""
        bits = {"bits": self.draw_bits(rng)}
        drawn = [self.values(self.random_genotype(rng)) for _ in range(1 + variants)]
        return [tuple(self._build({**values, **bits}, self._places) for values in drawn)]

    def _values(self, index: int) -> dict[str, Any]:
        return {gene.name: gene.choices[index] for gene in self.genes}

    def _act(self, i: int) -> Activation:
        """Of a branch's layers: the last one of stage `i`."""
        found = [act for block in self._stages[i].blocks if (act := getattr(block, "act", None))]
        return found[-1] if found else "relu"

    def _build(self, values: Mapping[str, Any], exits: Sequence[int]) -> Architecture:
        stages = []
        for i, stage in enumerate(self._stages):
            branch = branch_of(self.options, values, i, self._shapes[i][1:], self._act(i)) if i in exits else None
            stages.append(Stage(blocks=stage.blocks, exit=branch))
        precision = self.precision(values)
        return Architecture(input=self.input, classes=self.classes, stages=(*stages, self._last), precision=precision)
