"""An NPU that a compiler knows: a TOML file that names it, and the sections of the compiler's own configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from offramp.cost.hardware import DeviceError, parsed, problems_of


class Npu(BaseModel):
    """An Arm Ethos-U. `accelerator` as Vela names it, its last part the multiply-accumulates per cycle.

    `system`, `memory`: the sections `System_Config.X` and `Memory_Mode.X` of Vela's configuration file: clock and
    memories, and what lies where. `config`: a configuration file of one's own, relative to this one; Vela's where none
    is given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    about: str
    accelerator: Annotated[str, Field(pattern=r"^ethos-u(55|65|85)-\d+$")]
    system: str
    memory: str
    config: Path | None = None

    @staticmethod
    def describes(path: Path) -> bool:
        """Whether the TOML file `path` describes an NPU, and not an array with its memories."""
        try:
            return "accelerator" in parsed(path)
        except DeviceError:
            return False

    @classmethod
    def load(cls, path: Path) -> Npu:
        """The NPU in the TOML file `path`.

        Raises:
            OSError: the file cannot be read.
            DeviceError: with every mistake in it.
        """
        try:
            found = cls.model_validate(parsed(path))
        except ValidationError as error:
            raise DeviceError(str(path), problems_of(error)) from None
        return found if found.config is None else found.model_copy(update={"config": path.parent / found.config})
