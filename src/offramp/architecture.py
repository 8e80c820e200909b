"""What an early-exit network is: an immutable, hashable, torch-free description that reads and writes JSON."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

Activation = Literal["relu", "relu6", "hardswish"]


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError(f"kernel is {kernel}; it must be odd, so that half of it on every side keeps the map's size")
    return kernel


Kernel = Annotated[int, Field(ge=1, le=31), AfterValidator(_odd)]
Bits = Annotated[int, Field(ge=2, le=32)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _optional(default: object) -> Any:
    """A field that stays out of the JSON at its default, so that architectures written before it keep their key."""
    return Field(default, exclude_if=lambda value: value == default)


class Conv(_Frozen):
    """Convolution (odd square kernel), batch norm, activation.

    `pad`: by half the kernel on every side, else not at all. `norm`: batch norm, else a bias.
    """

    kind: Literal["conv"] = "conv"
    out: PositiveInt
    kernel: Kernel = 3
    stride: PositiveInt = 1
    act: Activation | None = "relu"
    pad: bool = _optional(True)
    norm: bool = _optional(True)


class Separable(_Frozen):
    """Depthwise convolution, then a pointwise one, each with batch norm and activation."""

    kind: Literal["separable"] = "separable"
    out: PositiveInt
    kernel: Kernel = 3
    stride: PositiveInt = 1
    act: Activation = "relu"


class Bottleneck(_Frozen):
    """Inverted bottleneck (MobileNetV2/V3): pointwise to `hidden`, depthwise, squeeze-excite, pointwise to `out`.

    Input and output are added where their shapes agree. `hidden` is 0 where there is no first pointwise layer and the
    depthwise one reads the input. `squeeze` is the width of the squeeze-excite layer, 0 for none.
    """

    kind: Literal["bottleneck"] = "bottleneck"
    out: PositiveInt
    hidden: Annotated[int, Field(ge=0)]
    kernel: Kernel = 3
    stride: PositiveInt = 1
    squeeze: Annotated[int, Field(ge=0)] = 0
    act: Activation = "relu"


class Pool(_Frozen):
    """The largest value (`max`) or the mean (`avg`) of every `kernel` x `kernel` window; windows do not overlap."""

    kind: Literal["pool"] = "pool"
    kernel: Annotated[int, Field(ge=2)] = 2
    how: Literal["max", "avg"] = "max"


class Resize(_Frozen):
    """The map resized to `size` x `size`, bicubically."""

    kind: Literal["resize"] = "resize"
    size: PositiveInt


class Activate(_Frozen):
    """An activation on its own."""

    kind: Literal["activate"] = "activate"
    act: Activation = "relu"


class Dense(_Frozen):
    """A linear layer and its activation."""

    out: PositiveInt
    act: Activation | None = "relu"
    bias: bool = True


Block = Annotated[Conv | Separable | Bottleneck | Pool | Resize | Activate, Field(discriminator="kind")]


class Branch(_Frozen):
    """An exit: `blocks`, pooling of each channel to `grid` x `grid` values, `hidden` layers, a linear classifier.

    `pool` "none" leaves the map as it is; `grid` is 1 then. `gate` adds an output beside the classes: the logit of the
    probability that this exit is right (NACHOS).
    """

    blocks: tuple[Block, ...] = ()
    pool: Literal["avg", "max", "none"] = "avg"
    grid: PositiveInt = 1
    hidden: tuple[Dense, ...] = _optional(())
    gate: bool = _optional(False)

    @model_validator(mode="after")
    def _one_spelling(self) -> Branch:
        if self.pool == "none" and self.grid != 1:
            raise ValueError(f"grid is {self.grid}; without pooling it must be 1")
        return self


class Stage(_Frozen):
    """A run of backbone blocks, and the exit that reads its output, if there is one."""

    blocks: tuple[Block, ...] = Field(min_length=1)
    exit: Branch | None = None


class Precision(_Frozen):
    """Bits of the weights and activations, for the backbone and for the exit branches; 32 is float."""

    backbone_weights: Bits = 32
    backbone_activations: Bits = 32
    branch_weights: Bits = 32
    branch_activations: Bits = 32


class Architecture(_Frozen):
    """An early-exit network. The last stage always has an exit: the final classifier.

    Two equal networks are equal objects with equal hashes, whatever genes they came from.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or out of range, or the last stage has no exit.
    """

    input: tuple[PositiveInt, PositiveInt, PositiveInt]  # channels, height, width
    classes: Annotated[int, Field(ge=2)]
    stages: tuple[Stage, ...] = Field(min_length=1)
    precision: Precision = Precision()

    @model_validator(mode="after")
    def _last_stage_exits(self) -> Architecture:
        if self.stages[-1].exit is None:
            raise ValueError(
                f"the last stage (number {len(self.stages) - 1}) has no exit; it needs the final classifier"
            )
        if self.stages[-1].exit.gate:
            raise ValueError("the final exit has a gate; samples always leave there, so it must not")
        return self

    @property
    def gated(self) -> bool:
        """Whether any exit has a gate beside its classes."""
        return any(stage.exit is not None and stage.exit.gate for stage in self.stages)

    @property
    def exits(self) -> tuple[int, ...]:
        """Numbers of the stages that have an exit, in order; the last is always the last stage."""
        return tuple(i for i, stage in enumerate(self.stages) if stage.exit is not None)

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that name this architecture in files and studies."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def with_exits(self, exits: tuple[int, ...]) -> Architecture:
        """The same network with only the exits after stages `exits` kept, cut behind the last of them.

        Raises:
            ValueError: one of `exits` is not an exit of this network, or there is none.
        """
        if not exits or not set(exits) <= set(self.exits):
            raise ValueError(f"exits is {exits}; allowed are one or more of {self.exits}")
        kept = self.stages[: max(exits) + 1]
        stages = tuple(s if i in exits else s.model_copy(update={"exit": None}) for i, s in enumerate(kept))
        last = stages[-1].exit
        assert last is not None
        final = stages[-1].model_copy(update={"exit": last.model_copy(update={"gate": False})})
        stages = (*stages[:-1], final)
        return self.model_copy(update={"stages": stages})

    def to_json(self, indent: int | None = None) -> str:
        """Canonical JSON; `from_json` gives back an equal object."""
        return self.model_dump_json(indent=indent)

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Read what `to_json` wrote."""
        return cls.model_validate_json(text)

    @classmethod
    def load(cls, path: str | Path) -> Architecture:
        """Read an `architecture.json`.

        Raises:
            ValueError: it holds no architecture; the message names the file, and the first thing that is wrong.
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"{path} is no architecture: {where and f'{where}: '}{first['msg']}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no architecture: it is no text (offset {error.start})") from error
