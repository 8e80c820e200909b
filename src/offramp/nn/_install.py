"""Rounding layers put in the place of a network's own: which rounds what, and which knows the step of its input."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from offramp.nn._quick import QuickConv, QuickLinear, QuickRounding
from offramp.nn.blocks import Bicubic, BottleneckBlock, Dense, Head, MaxOrMean, SqueezeExcite, Unit
from offramp.nn.network import EarlyExitNet
from offramp.nn.rounding import RoundedConv, RoundedLayer, RoundedLinear, Rounding

FLOAT = 32
MOST_BITS = 8


class _Bits(NamedTuple):
    """Of a part of the network; `quick`: with steps found in every batch."""

    weights: int
    activations: int
    quick: bool


def install(net: EarlyExitNet, quick: bool) -> None:
    """Replace layers by rounding ones, and identities by roundings; steps are unset.

    `quick`: those that find their steps in every batch.

    Raises:
        ValueError: bits that cannot be computed.
    """
    precision = net.architecture.precision
    backbone = _Bits(precision.backbone_weights, precision.backbone_activations, quick)
    branch = _Bits(precision.branch_weights, precision.branch_activations, quick)
    for bits in (*backbone[:2], *branch[:2]):
        if bits != FLOAT and bits > MOST_BITS:
            raise ValueError(f"precision has {bits} bits; networks can be computed at 2 to {MOST_BITS}, and at {FLOAT}")
    source: nn.Module | None = None
    if backbone.activations != FLOAT:
        # Images have 8 bits; fewer would blur them before the first layer, which costs next to nothing.
        net.entry, source = _rounding(backbone._replace(activations=MOST_BITS))
    for stage in net.ordered:
        source = _blocks(stage.blocks, backbone, source)
        if stage.exit is not None:
            _head(stage.exit, branch, source, entry=branch.activations < backbone.activations)
    net.to(net.mean.device)


def _head(head: Head, bits: _Bits, source: nn.Module | None, entry: bool) -> None:
    if entry:
        head.entry, source = _rounding(bits)
    source = _blocks(head.blocks, bits, source)
    if head.pool == "avg":
        head.pooled, source = _rounding(bits)
    for dense in head.hidden:
        assert isinstance(dense, Dense)
        dense.linear = _linear(dense.linear, bits, source)
        dense.act, source = _after(dense.act, bits)
    head.classifier = _linear(head.classifier, bits, source)


def _blocks(blocks: nn.ModuleList, bits: _Bits, source: nn.Module | None) -> nn.Module | None:
    """Install in `blocks`, whose input `source` rounds; gives what rounds their output."""
    for i, block in enumerate(blocks):
        if isinstance(block, BottleneckBlock):
            source = _bottleneck(block, bits, source)
        elif isinstance(block, MaxOrMean):
            if block.how == "avg":
                block.pooled, source = _rounding(bits)
        elif isinstance(block, Bicubic):
            if block.changes:  # else its rounding would see no image, and its step stay unset
                block.resized, source = _rounding(_no_coarser(bits, source))
        elif isinstance(block, nn.Sequential):
            for unit in block:
                source = _unit(unit, bits, source)
        else:  # an activation on its own
            replaced, source = _after(block, bits)
            assert replaced is not None
            blocks[i] = replaced
    return source


def _bottleneck(block: BottleneckBlock, bits: _Bits, source: nn.Module | None) -> nn.Module | None:
    if block.expand is not None:
        source = _unit(block.expand, bits, source)
    source = _unit(block.depthwise, bits, source)
    if isinstance(block.squeeze, SqueezeExcite):
        block.squeeze.pooled, pooled = _rounding(bits)
        _unit(block.squeeze.expand, bits, _unit(block.squeeze.reduce, bits, pooled))
        block.squeeze.scaled, source = _rounding(bits)
    source = _unit(block.project, bits, source)
    if block.residual:
        block.added, source = _rounding(bits)
    return source


def _unit(unit: nn.Module, bits: _Bits, source: nn.Module | None) -> nn.Module | None:
    assert isinstance(unit, Unit)
    if bits.weights != FLOAT:
        conv, kind = unit.conv, QuickConv if bits.quick else RoundedConv
        unit.conv = kind(
            conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0],
            padding=conv.padding[0], groups=conv.groups, device="meta",
        )  # fmt: skip
        _take_over(unit.conv, conv, bits, source)
    unit.act, source = _after(unit.act, bits)
    return source


def _linear(linear: nn.Linear, bits: _Bits, source: nn.Module | None) -> nn.Linear:
    if bits.weights == FLOAT:
        return linear
    kind = QuickLinear if bits.quick else RoundedLinear
    rounded = kind(linear.in_features, linear.out_features, device="meta")
    _take_over(rounded, linear, bits, source)
    return rounded


def _take_over(rounded: Any, layer: nn.Conv2d | nn.Linear, bits: _Bits, source: nn.Module | None) -> None:
    """Give `rounded` the weights of `layer`, whose input `source` rounds."""
    rounded.weight, rounded.bias, rounded.bits = layer.weight, layer.bias, bits.weights
    if isinstance(rounded, RoundedLayer):
        rounded.weight_step = nn.Parameter(layer.weight.new_ones(len(layer.weight)))
        rounded.sources = (source,) if isinstance(source, Rounding) else ()


def _rounding(bits: _Bits) -> tuple[nn.Module, nn.Module | None]:
    """What stands for an identity, and the same where it rounds."""
    if bits.activations == FLOAT:
        return nn.Identity(), None
    rounding = (QuickRounding if bits.quick else Rounding)(bits.activations)
    return rounding, rounding


def _no_coarser(bits: _Bits, source: nn.Module | None) -> _Bits:
    """With the bits of `source`, which rounded the map before, where those are more: an image keeps its 8."""
    if not isinstance(source, (Rounding, QuickRounding)) or bits.activations == FLOAT:
        return bits
    return bits._replace(activations=max(bits.activations, source.levels.bit_length() - 1))


def _after(act: nn.Module | None, bits: _Bits) -> tuple[nn.Module | None, nn.Module | None]:
    """The activation followed by the rounding of what it gives."""
    rounding = _rounding(bits)[1]
    if rounding is None:
        return act, None
    return nn.Sequential(*([] if act is None else [act]), rounding), rounding
