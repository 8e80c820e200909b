"""A budget: a mean cost that is bounded, and the network to deliver within it."""

from __future__ import annotations

from pydantic import BaseModel, Field, PositiveFloat, field_validator, model_validator

from offramp.recipe._section import Section
from offramp.search.costs import BUDGETS


def bounds_in(section: BaseModel) -> dict[str, float]:
    """Those of `BUDGETS` that a section gives, with their values."""
    return {name: value for name in BUDGETS if (value := getattr(section, name)) is not None}


class Budget(Section):
    """One network to deliver: the most accurate within one mean cost, or the best trade-off where none is given.

    Where it names an architecture, that one: nothing is chosen, and the mean cost is what its thresholds are set for.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="that of its folder")
    mean_macs: PositiveFloat | None = Field(None, description="at most; without any of these four, the best trade-off")
    mean_energy_mj: PositiveFloat | None = Field(None, description="likewise, on the device")
    mean_latency_ms: PositiveFloat | None = Field(None, description="likewise")
    et_avg: PositiveFloat | None = Field(None, description="likewise, J x cycles")
    architecture: str | None = Field(
        None, min_length=1, description="file of the network to deliver, in place of one that the search has found"
    )

    @property
    def budget(self) -> tuple[str, float] | None:
        """The mean cost that is bounded, and the bound; None for the best trade-off."""
        return next(iter(bounds_in(self).items()), None)

    @field_validator("name")
    @classmethod
    def _is_no_other_folder(cls, name: str) -> str:
        if name.startswith("static-") or "-seed" in name:
            raise ValueError(f"{name!r} may not begin with 'static-' or hold '-seed': other networks' folders do")
        return name

    @model_validator(mode="after")
    def _one_budget(self) -> Budget:
        given = bounds_in(self)
        if len(given) > 1:
            raise ValueError(f"a budget bounds one mean cost, not {' and '.join(given)}; give one of them")
        return self
