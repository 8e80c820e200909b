"""The one list of a network's layers: what `nn` builds, and what MACs, memory, device tables and mappers count."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache, singledispatch
from typing import Literal, NamedTuple

from offramp.architecture import (
    Activate,
    Architecture,
    Block,
    Bottleneck,
    Branch,
    Conv,
    Pool,
    Resize,
    Separable,
    Stage,
)

Operator = Literal["conv", "linear", "pool", "add", "scale", "resize", "act"]
_REMEMBERED = 50_000


class Shape(NamedTuple):
    """Channels, height, width of one sample's feature map."""

    channels: int
    height: int
    width: int

    @property
    def elements(self) -> int:
        """Number of values."""
        return self.channels * self.height * self.width


class Layer(NamedTuple):
    """One operator with its geometry, for one sample.

    `held` counts the values that stay alive beside this layer's input and output: a residual, the map that
    squeeze-excite will scale, a stage's output while its exit branch runs.
    """

    name: str
    op: Operator
    shape_in: Shape
    shape_out: Shape
    kernel: int = 1
    stride: int = 1
    pad: int = 0
    groups: int = 1
    bias: bool = False
    norm: bool = False
    act: str | None = None
    pool: str | None = None
    held: int = 0
    weight_bits: int = 32
    act_bits: int = 32

    @property
    def weights(self) -> int:
        """Number of multiplicative weights (no bias, no batch norm)."""
        if self.op == "conv":
            return self.shape_out.channels * (self.shape_in.channels // self.groups) * self.kernel**2
        if self.op == "linear":
            return self.shape_in.elements * self.shape_out.channels
        return 0

    @property
    def params(self) -> int:
        """Weights, bias, and batch norm's scale and shift."""
        return self.weights + self.shape_out.channels * (int(self.bias) + 2 * int(self.norm))

    @property
    def macs(self) -> int:
        """Multiply-accumulates: each weight once per output position (no adds, pooling, activations)."""
        if self.op == "conv":
            return self.weights * self.shape_out.height * self.shape_out.width
        return self.weights


class StageLayers(NamedTuple):
    """The layers of one stage's backbone part, and of its exit branch (empty where it has none)."""

    backbone: tuple[Layer, ...]
    branch: tuple[Layer, ...]


def layers(architecture: Architecture) -> tuple[StageLayers, ...]:
    """Every layer of `architecture`, stage by stage, in order of execution."""
    bits = architecture.precision
    shape, found = Shape(*architecture.input), []
    for number, stage in enumerate(architecture.stages):
        backbone = tuple(_with_bits(stage_layers(stage, shape), bits.backbone_weights, bits.backbone_activations))
        shape, branch = backbone[-1].shape_out, tuple[Layer, ...]()
        if stage.exit is not None:
            # Every layer of a branch but the first has the stage's output waiting beside it, for the next stage.
            # It keeps the backbone's bits: so many values of the branch's.
            ratio = bits.backbone_activations / bits.branch_activations
            held = math.ceil(shape.elements * ratio) if number + 1 < len(architecture.stages) else 0
            wider = max(0, math.ceil(shape.elements * ratio) - shape.elements)  # the first layer reads those, too
            raw = branch_layers(stage.exit, shape, architecture.classes)
            residual = any(layer.name == "blocks.0.add" for layer in raw)  # it holds that same output itself
            beside = [
                wider if i == 0 or (residual and layer.name.startswith("blocks.0.")) else held
                for i, layer in enumerate(raw)
            ]
            raw = [layer._replace(held=layer.held + more) for layer, more in zip(raw, beside)]
            branch = tuple(_with_bits(raw, bits.branch_weights, bits.branch_activations))
        found.append(StageLayers(backbone, branch))
    return tuple(found)


def stage_layers(stage: Stage, shape: Shape) -> list[Layer]:
    """The backbone layers of `stage` on an input of `shape`; names are like `blocks.0.expand`."""
    return list(_chain(stage.blocks, shape, "blocks"))


def branch_layers(branch: Branch, shape: Shape, classes: int) -> list[Layer]:
    """The layers of an exit branch on a feature map of `shape`: its blocks, pooling, hidden layers, classifier."""
    found = list(_chain(branch.blocks, shape, "blocks"))
    last = found[-1].shape_out if found else shape
    if branch.pool != "none":
        pooled = Shape(last.channels, min(branch.grid, last.height), min(branch.grid, last.width))
        found.append(Layer("pool", "pool", last, pooled, pool=branch.pool))
        last = pooled
    for i, dense in enumerate(branch.hidden):
        vector = Shape(dense.out, 1, 1)
        found.append(Layer(f"hidden.{i}", "linear", last, vector, bias=dense.bias, act=dense.act))
        last = vector
    found.append(Layer("classifier", "linear", last, Shape(classes + int(branch.gate), 1, 1), bias=True))
    return found


def _chain(blocks: tuple, shape: Shape, prefix: str) -> Iterator[Layer]:
    for i, block in enumerate(blocks):
        found = _named(block, shape, f"{prefix}.{i}")
        yield from found
        shape = found[-1].shape_out


@lru_cache(_REMEMBERED)
def _named(block: Block, shape: Shape, prefix: str) -> tuple[Layer, ...]:
    """`block_layers`, named by the block's place; kept, as a search asks for thousands of networks of few blocks."""
    return tuple(layer._replace(name=f"{prefix}.{layer.name}") for layer in block_layers(block, shape))


def _with_bits(found: list[Layer], weights: int, activations: int) -> list[Layer]:
    if weights == activations == 32:
        return found
    return [layer._replace(weight_bits=weights, act_bits=activations) for layer in found]


def _conv(
    name: str,
    shape: Shape,
    out: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    padded: bool = True,
    **more: object,
) -> Layer:
    pad = kernel // 2 if padded else 0
    if min(shape.height, shape.width) + 2 * pad < kernel:
        raise ValueError(
            f"a convolution of kernel {kernel} without padding does not fit a map of {shape.height} x {shape.width}"
        )
    result = Shape(out, (shape.height + 2 * pad - kernel) // stride + 1, (shape.width + 2 * pad - kernel) // stride + 1)
    return Layer(name, "conv", shape, result, kernel, stride, pad, groups, **more)  # type: ignore[arg-type]


@singledispatch
def block_layers(block: object, shape: Shape) -> list[Layer]:
    """The layers of one block on an input of `shape`, with names relative to the block."""
    raise TypeError(f"block is {block!r}; no layers are known for {type(block).__name__}")


@block_layers.register
def _(block: Conv, shape: Shape) -> list[Layer]:
    return [
        _conv(
            "conv", shape, block.out, block.kernel, block.stride,
            padded=block.pad, norm=block.norm, bias=not block.norm, act=block.act,
        )
    ]  # fmt: skip


@block_layers.register
def _(block: Pool, shape: Shape) -> list[Layer]:
    if min(shape.height, shape.width) < block.kernel:
        raise ValueError(f"pooling by {block.kernel} does not fit a map of {shape.height} x {shape.width}")
    result = Shape(shape.channels, shape.height // block.kernel, shape.width // block.kernel)
    return [Layer("pool", "pool", shape, result, block.kernel, block.kernel, pool=block.how)]


@block_layers.register
def _(block: Resize, shape: Shape) -> list[Layer]:
    return [Layer("resize", "resize", shape, Shape(shape.channels, block.size, block.size))]


@block_layers.register
def _(block: Activate, shape: Shape) -> list[Layer]:
    return [Layer("act", "act", shape, shape, act=block.act)]


@block_layers.register
def _(block: Separable, shape: Shape) -> list[Layer]:
    channels = shape.channels
    depthwise = _conv("depthwise", shape, channels, block.kernel, block.stride, channels, norm=True, act=block.act)
    return [depthwise, _conv("pointwise", depthwise.shape_out, block.out, norm=True, act=block.act)]


@block_layers.register
def _(block: Bottleneck, shape: Shape) -> list[Layer]:
    hidden, found = block.hidden or shape.channels, []
    residual = block.stride == 1 and block.out == shape.channels
    kept = shape.elements if residual else 0
    wide = shape
    if block.hidden:
        found.append(_conv("expand", shape, hidden, norm=True, act=block.act))
        wide = found[-1].shape_out
    # Without the layer before it, the depthwise one reads the residual itself.
    held = kept if block.hidden else 0
    found.append(
        _conv("depthwise", wide, hidden, block.kernel, block.stride, hidden, norm=True, act=block.act, held=held)
    )
    wide = found[-1].shape_out
    if block.squeeze:
        vector, held = Shape(hidden, 1, 1), kept + wide.elements
        found.append(Layer("squeeze.pool", "pool", wide, vector, pool="avg", held=kept))
        reduce = _conv("squeeze.reduce", vector, block.squeeze, bias=True, act="relu", held=held)
        found.append(reduce)
        found.append(_conv("squeeze.expand", reduce.shape_out, hidden, bias=True, act="hardsigmoid", held=held))
        found.append(Layer("squeeze.scale", "scale", wide, wide, held=kept + hidden))
    found.append(_conv("project", wide, block.out, norm=True, held=kept))
    if residual:
        found.append(Layer("add", "add", found[-1].shape_out, found[-1].shape_out, held=kept))
    return found
