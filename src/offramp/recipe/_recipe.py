"""The recipe: all its sections, read and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from offramp.recipe._data import DataSection
from offramp.recipe._deliver import DeliverSection
from offramp.recipe._error import RecipeError, lines
from offramp.recipe._export import ExportSection
from offramp.recipe._extends import extended
from offramp.recipe._hardware import HardwareSection
from offramp.recipe._needs import unmet
from offramp.recipe._override import override
from offramp.recipe._policy import PolicySection
from offramp.recipe._search import SearchSection
from offramp.recipe._section import Section
from offramp.recipe._space import SpaceSection, wrong_options
from offramp.training import GateSettings, SupernetSettings, TrainSettings


class Recipe(Section):
    """A whole run. `seed` is the seed of everything that has none of its own."""

    seed: int = 0
    data: DataSection = DataSection()
    space: SpaceSection = SpaceSection()
    supernet: SupernetSettings = SupernetSettings()
    hardware: HardwareSection | None = Field(None, description="without it there are no energies and latencies")
    policy: PolicySection
    search: SearchSection = SearchSection()
    finetune: TrainSettings | None = Field(None, description="how the fine-tune evaluator trains a candidate")
    train: TrainSettings = TrainSettings()
    gates: GateSettings | None = Field(
        None, description="NACHOS's training, in place of [train] and [finetune], of networks whose exits have gates"
    )
    deliver: DeliverSection = DeliverSection()
    export: ExportSection = ExportSection()

    @model_validator(mode="before")
    @classmethod
    def _finetune_defaults(cls, values: Any) -> Any:
        """With its evaluator the section is there, so that a run's folder tells the whole schedule."""
        search = values.get("search") if isinstance(values, Mapping) else None
        chosen = search.get("evaluator") if isinstance(search, Mapping) else getattr(search, "evaluator", None)
        return {"finetune": {}, **values} if chosen == "fine-tune" else values

    @model_validator(mode="after")
    def _finetune_has_its_evaluator(self) -> Recipe:
        if self.finetune is not None and self.search.evaluator != "fine-tune":
            raise ValueError(
                f"section [finetune] is of no use with search.evaluator = {self.search.evaluator!r}; "
                'set that to "fine-tune", or drop the section'
            )
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """Most of the goal's mean cost, and least accuracy in 0..1; by goal or constraint, else infinity and 0."""
        constraints = self.search.parsed_constraints
        most = [c.bound for c in constraints if c.metric == self.policy.metric and not c.at_least]
        least = [c.bound for c in constraints if c.metric == "accuracy" and c.at_least]
        least += [1 - c.bound for c in constraints if c.metric == "error" and not c.at_least]
        budget = self.policy.budget
        return budget[1] if budget else min(most, default=inf), self.policy.accuracy or max(least, default=0.0)

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
        """Read a recipe; `overrides` are `section.key=value` with a TOML value.

        Raises:
            RecipeError: with every mistake, by its path.
        """
        text = Path(path).read_text()
        return cls.parse(text, str(path), overrides)

    @classmethod
    def parse(cls, text: str, source: str = "recipe", overrides: Sequence[str] = ()) -> Recipe:
        """Read the text of a recipe; see `load`. What it extends is looked for beside `source`."""
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(source, [f"not valid TOML: {error}"]) from error
        values = extended(values, Path(source))
        for given in overrides:
            override(values, given)
        return cls._checked(values, source)

    def to_toml(self) -> str:
        """The whole recipe with every default filled in; `parse` gives back an equal one."""
        import tomli_w

        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    @classmethod
    def _checked(cls, values: dict[str, Any], source: str) -> Recipe:
        problems: list[str] = []
        try:
            recipe = cls.model_validate(values)
        except ValidationError as error:
            problems += lines(error)
        problems += wrong_options(values.get("space", {}))
        if not problems:
            problems += unmet(recipe)
        if problems:
            raise RecipeError(source, problems)
        return recipe
