"""The section [deliver]."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, field_validator, model_validator

from offramp.recipe._budget import Budget
from offramp.recipe._section import Section, Seed, once


class DeliverSection(Section):
    """Which networks of the front are trained, tested and exported."""

    budgets: tuple[Budget, ...] = Field(
        (Budget(name="best"),),
        min_length=1,
        description="a network for each; see below; default: one, with the bound of [policy] on a mean cost",
    )
    seeds: tuple[Seed, ...] = Field(
        (0,), min_length=1, description="final trainings; the first seed's network is exported"
    )
    drop_exits: bool = Field(
        True,
        description="leave out exits without which tuned thresholds are better for the network's budget; false: "
        "keep all (but those that thresholds = 'grid' leaves out), for one network at many budgets",
    )
    static_macs: tuple[PositiveFloat, ...] = Field(
        (), description="MACs of static networks to train beside by the same schedule"
    )
    static_budget: bool = Field(
        False, description="for each budget, the most accurate static network of the search that keeps it, beside"
    )
    static_backbone: bool = Field(
        False, description="for each budget, its network's whole backbone with one final exit, at the same bits"
    )

    @model_validator(mode="after")
    def _names_differ(self) -> DeliverSection:
        # A name that is wrong by itself has been left out.
        once("budget's name", [budget.name for budget in self.budgets if hasattr(budget, "name")])
        return self

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        return once("seed", seeds)

    @field_validator("static_macs")
    @classmethod
    def _statics_differ(cls, macs: tuple[float, ...]) -> tuple[float, ...]:
        once("number of static_macs", [f"{m:.4g}" for m in macs])  # as precise as their folders' names
        return macs
