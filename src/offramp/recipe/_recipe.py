"""The recipe: all its sections, read and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, model_validator

from offramp.recipe._budget import Budget
from offramp.recipe._data import DataSection
from offramp.recipe._deliver import DeliverSection
from offramp.recipe._error import RecipeError
from offramp.recipe._export import ExportSection
from offramp.recipe._extends import extended
from offramp.recipe._files import absent
from offramp.recipe._hardware import HardwareSection
from offramp.recipe._needs import unmet
from offramp.recipe._override import override
from offramp.recipe._partial import read
from offramp.recipe._policy import PolicySection
from offramp.recipe._search import SearchSection
from offramp.recipe._section import Section, Seed
from offramp.recipe._space import SpaceSection, wrong_options
from offramp.recipe._text import text_of
from offramp.search.constraint import Constraint
from offramp.spaces import options_of
from offramp.training import GateSettings, SupernetSettings, TrainSettings

Part = TypeVar("Part", bound=BaseModel)

_FOLLOWING = (
    ("search", "objectives"), ("search", "constraints"), ("deliver", "budgets"), ("gates", "mac_rule"),
    ("gates", "max_macs"),
)  # fmt: skip
"""Sections and their keys that are the policy's where they are not given."""


class Recipe(Section):
    """A whole run. `seed` is the seed of everything that has none of its own."""

    seed: Seed = Field(0, description="of everything that has none of its own")
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
    def _sections_that_are_needed(cls, values: Any) -> Any:
        """[policy], which then says what it asks for; and [finetune] with its evaluator, so that a run's folder tells
        the whole schedule."""
        if not isinstance(values, Mapping):
            return values
        search = values.get("search")
        chosen = search.get("evaluator") if isinstance(search, Mapping) else getattr(search, "evaluator", None)
        return {"policy": {}, **({"finetune": {}} if chosen == "fine-tune" else {}), **values}

    @model_validator(mode="after")
    def _gates_follow_the_policy(self) -> Recipe:
        """What [gates] does not say of costs is what [policy] says, so that the losses aim at the run's own bound."""
        if self.gates is not None:
            goal = {"mac_rule": self.policy.mac_rule, "max_macs": self.policy.mean_macs}
            missing = {name: value for name, value in goal.items() if name not in self.gates.model_fields_set}
            self.__dict__["gates"] = _with(self.gates, **missing)
        return self

    @model_validator(mode="after")
    def _budgets_follow_the_policy(self) -> Recipe:
        """What [search] and [deliver] do not say of costs is what [policy] says, so that a recipe tells it once.

        A bound only of a mean cost: accuracies of a search are lower than those of trained networks, so none may be
        asked of it.
        """
        # Wrong ones have been left out.
        if "objectives" not in self.search.model_fields_set and hasattr(self.search, "objectives"):
            self.__dict__["search"] = _with(self.search, objectives=("error", self.policy.metric))
        if self.policy.budget is None:
            return self
        metric, bound = self.policy.budget
        if "constraints" not in self.search.model_fields_set:
            self.__dict__["search"] = _with(self.search, constraints=(str(Constraint(metric, bound)),))
        if "budgets" not in self.deliver.model_fields_set:
            best = Budget.model_validate({"name": "best", metric: bound})
            self.__dict__["deliver"] = _with(self.deliver, budgets=(best,))
        return self

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
    def load(cls, path: str | Path, overrides: Sequence[str] = (), files: bool = False, stored: bool = False) -> Recipe:
        """Read a recipe; `overrides` are `section.key=value` with a TOML value.

        `files`: the images and the checkpoint that it names must be there. A run's own recipe may have outlived them.
        `stored`: it is one of a run's folder, and what its sections need of each other was checked when the run began.

        Raises:
            RecipeError: with every mistake, by its path; or the file cannot be read.
        """
        return cls.parse(text_of(Path(path)), str(path), overrides, files, stored)

    @classmethod
    def parse(
        cls,
        text: str,
        source: str = "recipe",
        overrides: Sequence[str] = (),
        files: bool = False,
        stored: bool = False,
    ) -> Recipe:
        """Read the text of a recipe; see `load`. What it extends is looked for beside `source`."""
        try:
            values = extended(tomllib.loads(text), Path(source))
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(source, [f"not valid TOML: {error}", *override({}, overrides)]) from error
        except RecipeError as error:
            raise RecipeError(error.source, [*error.problems, *override({}, overrides)]) from error
        return cls._checked(values, source, override(values, overrides), files, stored)

    def overridden(self, overrides: Sequence[str]) -> Recipe:
        """Another one; what follows [policy] where it is not given follows it there too. Raises as `load`."""
        values = self.model_dump(mode="json", exclude_none=True)
        for name, key in _FOLLOWING:
            section = getattr(self, name)
            if section is not None and key not in section.model_fields_set:
                values[name].pop(key, None)
        return self._checked(values, "recipe", override(values, overrides), files=False, stored=False)

    def to_toml(self) -> str:
        """The whole recipe with every default filled in; `parse` gives back an equal one."""
        import tomli_w

        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    def filled(self) -> str:
        """The recipe with every key that has a value, those of the space too, for reading; `to_toml` is for keeping."""
        import tomli_w

        options = options_of(self.space.name, self.space.options)
        return tomli_w.dumps(_values(self) | {"space": {"name": self.space.name, **_values(options)}})

    @classmethod
    def _checked(
        cls, values: dict[str, Any], source: str, problems: Sequence[str], files: bool, stored: bool
    ) -> Recipe:
        """The recipe of these values; `problems` are those found before."""
        recipe, found = read(cls, values, also=["extends"])
        assert recipe is not None  # a TOML file is a table
        if options := wrong_options(values.get("space", {})):
            recipe.__dict__.pop("space", None)  # as `read` leaves out what is wrong
        needs = [] if stored else unmet(recipe)
        found = [*problems, *found, *options, *needs, *(absent(recipe) if files else ())]
        if found:
            raise RecipeError(source, found)
        return recipe


def _with(section: Part, **values: Any) -> Part:
    """A copy with other values that do not count as given."""
    copy = section.model_copy()  # which may be another recipe's, too
    copy.__dict__.update(values)  # a section is frozen
    return copy


def _values(section: BaseModel) -> dict[str, Any]:
    """Every key of a section that is not None; a dump leaves out some that stand at their defaults."""
    found = {name: _plain(getattr(section, name)) for name in type(section).model_fields}
    return {name: value for name, value in found.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _values(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
