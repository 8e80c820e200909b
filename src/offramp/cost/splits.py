"""Layers cut into equal parts that several cores run side by side."""

from __future__ import annotations

from math import ceil, prod
from typing import Literal, NamedTuple

from offramp.cost.hardware import Hardware
from offramp.layers import Layer, Shape

WAYS = (2, 4)
"""Into how many parts a layer may be cut."""


class Split(NamedTuple):
    """How a map or a layer's output is spread over cores: `ways` parts of its channels or of its rows."""

    ways: int = 1
    by: Literal["channels", "rows"] = "channels"

    def __str__(self) -> str:
        return f"{self.ways} by {self.by}" if self.ways > 1 else "whole"


WHOLE = Split()


def splits(layer: Layer, hardware: Hardware, cores: int | None = None) -> list[Split]:
    """How `layer` may be run on `cores` cores (default: all that `hardware` has): whole, or in 2 or 4 parts.

    Convolutions and linear layers are cut where every part still fills what the array unrolls of output channels (of
    groups, in depthwise layers) or of rows: a smaller part would take as long as one that does.
    """
    found = [WHOLE]
    if layer.op not in ("conv", "linear"):
        return found
    depthwise = 1 < layer.groups == layer.shape_in.channels == layer.shape_out.channels
    unrolling = hardware.mapping.depthwise if depthwise else hardware.mapping.conv
    for ways in WAYS:
        if ways > (hardware.cores if cores is None else cores):
            continue
        wide = prod(loops.get("G" if depthwise else "K", 1) for loops in unrolling.values())
        if (layer.groups == 1 or depthwise) and layer.shape_out.channels >= wide * ways:
            found.append(Split(ways, "channels"))
        high = prod(loops.get("OY", 1) for loops in unrolling.values())
        if layer.shape_out.height >= high * ways and layer.op == "conv":
            found.append(Split(ways, "rows"))
    return found


def part(layer: Layer, split: Split) -> Layer:
    """The largest part of `layer`, cut by `split`, as a layer of its own.

    A part of a map's rows keeps the whole map's padding; the rows that it shares with its neighbours are not in it.
    """
    if split.ways == 1:
        return layer
    (channels, height, width), (out, out_height, out_width) = layer.shape_in, layer.shape_out
    held = ceil(layer.held / split.ways)
    if split.by == "rows":
        rows = ceil(out_height / split.ways)
        cut = Shape(channels, min(height, rows * layer.stride), width)
        return layer._replace(shape_in=cut, shape_out=Shape(out, rows, out_width), held=held)
    some = ceil(out / split.ways)
    shape_out = Shape(some, out_height, out_width)
    if layer.groups > 1:
        return layer._replace(shape_in=Shape(some, height, width), shape_out=shape_out, groups=some, held=held)
    return layer._replace(shape_out=shape_out, held=held)
