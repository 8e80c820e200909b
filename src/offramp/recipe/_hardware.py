"""The section [hardware]."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from offramp.cost import DeviceError, analytic
from offramp.cost import device as find_device
from offramp.recipe._section import Section
from offramp.search.costs import Costs, MappingMode


def _described(name: str) -> str:
    """A device's name, or the whole path of its file; what is wrong as one ValueError."""
    try:
        found = find_device(name)
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror}") from None
    except DeviceError as error:
        raise ValueError(f"{name}: {'; '.join(error.problems)}") from None
    if found.model is analytic:
        raise ValueError(f"{name!r} counts no energy and no latency; drop the section, or choose another device")
    return str(Path(name).resolve()) if name.endswith(".toml") else found.name


class HardwareSection(Section):
    """The device that energy and latency are counted on."""

    device: Annotated[str, AfterValidator(_described)] = Field(
        description="a name that `offramp devices` lists, or the path of a .toml file"
    )
    mapping: MappingMode = Field(
        "none",
        description="one layer after another on one core; or all cores, branches after their stage (wait) "
        "or beside the next one (speculate)",
    )

    @model_validator(mode="after")
    def _cores_to_map_to(self) -> HardwareSection:
        Costs(device=self.device, mapping=self.mapping)
        return self
