"""The section [data]."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from offramp.recipe._section import Section

Count = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)]


class DataSection(Section):
    """Where the images come from, and how they are split."""

    name: str = "digits"
    root: str | None = Field(None, description="folder or file; default: the environment variable OFFRAMP_DATA")
    seed: int = 0
    select: Count | None = Field(None, description="images (or share of them) that search and thresholds are scored on")
    calibrate: Count | None = Field(None, description="images (or share) kept for guarantees")
    test: Count | None = Field(None, description="images (or share) for the test, where the set has no test split")
    limit: PositiveInt | None = Field(None, description="use only so many training images")
    size: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="height and width to resize a folder's images to"
    )
    flip: bool | None = None
    pad: NonNegativeInt | None = None
