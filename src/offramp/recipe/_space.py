"""The section [space]."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from offramp.recipe._partial import read
from offramp.spaces import SPACES, is_own, options_class, own_space


def _known(name: object) -> object:
    if isinstance(name, str) and is_own(name):
        own_space(name)
    elif name not in SPACES:
        raise ValueError(f"{name!r} is unknown; allowed are {', '.join(SPACES)}, or FILE.py:CLASS for one of your own")
    return name


_known.allowed = SPACES  # type: ignore[attr-defined]  # for the page of all keys


class SpaceSection(BaseModel):
    """The search space by name; every other key is an option of that space."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Annotated[str, BeforeValidator(_known)] = Field(
        "offramp",
        description='whose options the other keys are, below, or "FILE.py:CLASS", "MODULE:CLASS", one of your own',
    )

    @property
    def options(self) -> dict[str, Any]:
        """The options of the space, as given."""
        return dict(self.model_extra or {})


def wrong_options(section: object) -> list[str]:
    """Mistakes in the options of a section, read from TOML and not yet checked, as lines; none if its name is wrong."""
    if not isinstance(section, dict):
        return []
    try:
        kind = options_class(section.get("name", "offramp"))
    except (TypeError, ValueError):
        return []
    return read(kind, {key: value for key, value in section.items() if key != "name"}, "space", also=["name"])[1]
