"""The section [policy]."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, model_validator

from offramp.cost import MAC_RULES
from offramp.policy import GATE_MEASURES, MEASURES, THRESHOLDS
from offramp.recipe._budget import bounds_in
from offramp.recipe._section import Section, one_of
from offramp.search.costs import BUDGETS

GOALS = (*BUDGETS, "accuracy")
"""Keys of [policy] of which one is given."""


def other_goals_dropped(values: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """[policy] without the goal that it had before some keys were `given` anew, a goal among them."""
    if not any(goal in given for goal in GOALS):
        return dict(values)
    gone = {*GOALS, *(() if "accuracy" in given else ("cost",))} - {*given}
    return {key: value for key, value in values.items() if key not in gone}


class PolicySection(Section):
    """When a sample leaves."""

    measures: tuple[Annotated[str, one_of((*MEASURES, *GATE_MEASURES))], ...] = Field(
        ("max_probability",), min_length=1, description="how sure an exit is; of several, the best is kept"
    )
    mac_rule: Annotated[str, one_of(MAC_RULES)] = Field(
        "executed",
        description="every branch that ran is charged, or, as in some papers, those of earlier exits are free",
    )
    mean_macs: PositiveFloat | None = Field(None, description="most accuracy at this mean cost")
    mean_energy_mj: PositiveFloat | None = Field(None, description="likewise, of energy on the device")
    mean_latency_ms: PositiveFloat | None = Field(None, description="likewise, of latency on the device")
    et_avg: PositiveFloat | None = Field(None, description="likewise, of energy x latency on the device, J x cycles")
    accuracy: Annotated[float, Field(gt=0, le=1)] | None = Field(None, description="least mean cost at this accuracy")
    cost: Annotated[str, one_of(BUDGETS)] | None = Field(
        None, description="with accuracy: which mean cost; default: mean_macs"
    )
    thresholds: Annotated[str, one_of(THRESHOLDS)] = Field(
        "tuned",
        description="set by our tuner, the candidate's genes, or as papers do: a shared one, then repaired (NACHOS); "
        "the best score of a grid (AEBNAS)",
    )

    @property
    def budget(self) -> tuple[str, float] | None:
        """The mean cost that is bounded, and the bound; None where accuracy is."""
        return next(iter(bounds_in(self).items()), None)

    @property
    def metric(self) -> str:
        """The mean cost that is bounded or made small."""
        return self.budget[0] if self.budget else self.cost or "mean_macs"

    @model_validator(mode="after")
    def _one_goal(self) -> PolicySection:
        given = list(bounds_in(self))
        if len(given) + (self.accuracy is not None) != 1:
            raise ValueError(
                f"give either {', '.join(BUDGETS)} (most accuracy at that cost) "
                "or accuracy (least cost at that accuracy)"
            )
        if given and self.cost is not None:
            raise ValueError(f"cost is {self.cost!r}, but {given[0]} is given; cost goes with accuracy")
        return self
