"""The section [space]."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from offramp.recipe._partial import read
from offramp.recipe._section import one_of
from offramp.spaces import SPACES, options_class


class SpaceSection(BaseModel):
    """The search space by name; every other key is an option of that space."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Annotated[str, one_of(SPACES)] = Field("offramp", description="whose options the other keys are, below")

    @property
    def options(self) -> dict[str, Any]:
        """The options of the space, as given."""
        return dict(self.model_extra or {})


def wrong_options(section: object) -> list[str]:
    """Mistakes in the options of a section, read from TOML and not yet checked, as lines; none if its name is wrong."""
    if not isinstance(section, dict) or section.get("name", "offramp") not in SPACES:
        return []
    options = {key: value for key, value in section.items() if key != "name"}
    return read(options_class(section.get("name", "offramp")), options, "space", also=["name"])[1]
