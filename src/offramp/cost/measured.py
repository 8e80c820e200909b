"""A device whose latencies were measured layer by layer: a TOML file with a line for each layer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from offramp.cost.analytic import LayerCost, analytic
from offramp.cost.hardware import DeviceError, parsed, problems_of
from offramp.layers import Layer

Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Measured(BaseModel):
    """Milliseconds at batch 1, in float; `offramp devices measure` writes such a file, and so may anybody else.

    `layers`: what each takes alone, by `words_of`; `scale`: what it takes within a network, over that. `start_ms`: of a
    call, whatever the network. `exit_ms`: of every exit that a sample meets but the last, for score and decision.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    about: str
    start_ms: Milliseconds = 0.0
    exit_ms: Milliseconds = 0.0
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    layers: dict[str, Milliseconds] = Field(min_length=1)

    @staticmethod
    def describes(path: Path) -> bool:
        """Whether the TOML file `path` holds measured layers."""
        try:
            return "layers" in parsed(path)
        except DeviceError:
            return False

    @classmethod
    def load(cls, path: Path) -> Measured:
        """The measurements in the TOML file `path`.

        Raises:
            OSError: the file cannot be read.
            DeviceError: with every mistake in it.
        """
        try:
            return cls.model_validate(parsed(path))
        except ValidationError as error:
            raise DeviceError(str(path), problems_of(error)) from None


class NotMeasured(ValueError, LookupError):
    """A layer that a measured device tells no time of."""


class MeasuredModel:
    """A cost model (`layer -> LayerCost`) of measured latencies; it tells no energies."""

    def __init__(self, measured: Measured, path: Path) -> None:
        self.measured, self._path = measured, path

    def __call__(self, layer: Layer) -> LayerCost:
        """MACs, parameters, bytes, and `latency_ms` within a network.

        Raises:
            NotMeasured: no such layer was measured, or it is not in float.
        """
        bits = layer.weight_bits, layer.act_bits
        if bits != (32, 32):
            told = f"layer {layer.name} has weights of {bits[0]} and activations of {bits[1]} bits"
            raise NotMeasured(f"{told}; {self.measured.name} was measured in float, and tells of float networks only")
        found = self.measured.layers.get(words_of(layer))
        if found is None:
            raise NotMeasured(
                f"layer {layer.name} ({words_of(layer)}) was not measured on {self.measured.name}; measure the layers "
                f"of your space, images and classes, with more --samples if you have done so: "
                f"offramp devices measure {self._path} --space ..."
            )
        return analytic(layer)._replace(latency_ms=found * self.measured.scale)


def words_of(layer: Layer) -> str:
    """What a layer's time depends on, such as "conv 16x32x32 > 24x16x16 kernel 3 stride 2 pad 1 relu"."""
    sizes = ("x".join(map(str, shape)) for shape in (layer.shape_in, layer.shape_out))
    more = (
        {"kernel": layer.kernel, "stride": layer.stride, "groups": layer.groups} if layer.op in ("conv", "pool") else {}
    )
    parts = [f"{name} {value}" for name, value in more.items() if value > 1]
    parts += [f"pad {layer.pad}"] if layer.pad else []
    return " ".join([layer.op, " > ".join(sizes), *parts, *filter(None, (layer.pool, layer.act))])
