"""A stage of an 8-bit network in TFLite's operators: its backbone part, then its exit branch.

TFLite has no hard sigmoid, no padding by half the kernel where the stride is 2, and no mean pooling that rounds anew;
these are put together from what it has. `docs/npu.md` says how.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from offramp.architecture import Architecture
from offramp.layers import Layer, StageLayers
from offramp.tflite.graph import Graph, Node, Quant

BITS = 8
_SAME, _VALID = 0, 1
_FUSED = {None: 0, "relu": 1, "relu6": 3}
_ALONE = {"relu": "RELU", "relu6": "RELU6", "hardswish": "HARD_SWISH"}
_LARGEST_WEIGHT = 127
_LARGEST_BIAS = 2**30  # leaves half of a sum's 32 bits to its products: room for 33,155 of 127 x 255
_LARGEST_STRIDE = 3  # of a depthwise convolution, on Ethos-U


class Values(NamedTuple):
    """What a layer computes with.

    `weight`: int8 (O, I / groups, k, k) of a convolution, (O, C * H * W) of a linear layer; `steps` (O,) what one unit
    of it stands for; `bias`: whole numbers (O,) in units of the input's scale times `steps`. `output`: the scale of
    what the layer gives; None: that of its input.
    """

    output: Quant | None = None
    weight: NDArray[np.int8] | None = None
    steps: NDArray[np.floating] | None = None
    bias: NDArray[np.number] | None = None


class StageValues(NamedTuple):
    """Those of a stage's layers, one for each of the records that `offramp.layers` gives."""

    backbone: Sequence[Values]
    branch: Sequence[Values]


def check_bits(architecture: Architecture) -> None:
    """See that weights and activations have 8 bits throughout.

    Raises:
        ValueError: others are asked for.
    """
    wrong = {name: bits for name, bits in architecture.precision.model_dump().items() if bits != BITS}
    if wrong:
        found = ", ".join(f"{name} {bits}" for name, bits in wrong.items())
        raise ValueError(f"precision has {found} (32 is float); stages for NPUs need {BITS} for all four")


def stage_graph(number: int, layers: StageLayers, values: StageValues, source: Quant, last: bool) -> Graph:
    """The graph of stage `number`, whose input has the scale `source`.

    Inputs and outputs are (1, H, W, C): `input`; `features` for the next stage, where it is not the `last`; `logits`
    (1, K) where it has an exit. Tensors are named by part and layer, such as `backbone.blocks.0.expand`.

    Raises:
        ValueError: a layer cannot be written; the message names it.
    """
    lowering = _Lowering(f"stage {number}")
    channels, height, width = layers.backbone[0].shape_in
    x = lowering.graph.node("input", (height, width, channels), source)
    lowering.graph.inputs["input"] = x.tensor
    x = lowering.chain("backbone", layers.backbone, values.backbone, x)
    if not last:
        lowering.graph.outputs["features"] = x.tensor
    if layers.branch:
        x = lowering.chain("branch", layers.branch, values.branch, x)
        lowering.graph.outputs["logits"] = x.tensor
    return lowering.graph


class _Lowering:
    def __init__(self, where: str) -> None:
        self.graph, self.where = Graph(), where

    def chain(self, part: str, layers: Sequence[Layer], values: Sequence[Values], x: Node) -> Node:
        """Layers one after another; what an addition or a scaling reads beside is kept."""
        block, entry, scaled = "", x, x
        for layer, value in zip(layers, values, strict=True):
            name = f"{part}.{layer.name}"
            if ".".join(layer.name.split(".")[:2]) != block:
                block, entry = ".".join(layer.name.split(".")[:2]), x
            if layer.op in ("conv", "linear"):
                x = self._weighted(name, layer, value, x)
            elif layer.op == "pool":
                scaled = x
                x = self._pool(name, layer, value, x)
            elif layer.op == "scale":
                x = self._two("MUL", name, scaled, x, value)
            elif layer.op == "add":
                x = self._two("ADD", name, entry, x, value)
            elif layer.op == "act":
                x = self.graph.apply(_ALONE[str(layer.act)], [x.tensor], name, x.shape, _given(value))
            elif layer.shape_in != layer.shape_out:
                raise ValueError(
                    f"{self.where}: layer {name} resizes {layer.shape_in.height} x {layer.shape_in.width} to "
                    f"{layer.shape_out.height} x {layer.shape_out.width} bicubically, which TFLite has no operator for"
                )
        return x

    def _two(self, code: str, name: str, a: Node, b: Node, value: Values) -> Node:
        return self.graph.apply(code, [a.tensor, b.tensor], name, a.shape, _given(value), FusedActivationFunction=0)

    def _weighted(self, name: str, layer: Layer, value: Values, x: Node) -> Node:
        """Convolution or linear layer, and its activation."""
        output, act = _given(value), layer.act
        if act == "hardswish":
            before = self._multiply(f"{name}.sum", layer, value, x, _before_hardswish(output), None)
            return self.graph.apply("HARD_SWISH", [before.tensor], name, before.shape, output)
        if act == "hardsigmoid":
            # (x + 3) / 6, cut off at 0 and 1: weights of a sixth, and an output that ends there.
            assert value.steps is not None
            assert value.bias is not None
            shift = np.rint(3 / (np.float64(x.quant.scale) * value.steps))
            value = value._replace(steps=value.steps / 6, bias=value.bias + shift)
            output, act = Quant(min(output.scale, 1 / 255), -128), None
        return self._multiply(name, layer, value, x, output, act)

    def _multiply(self, name: str, layer: Layer, value: Values, x: Node, output: Quant, act: str | None) -> Node:
        if value.bias is not None and not np.isfinite(value.bias).all():
            raise ValueError(f"{self.where}: layer {name} has a bias that is not finite")
        value = _within_int32(value)
        assert value.weight is not None
        assert value.steps is not None
        assert value.bias is not None
        shape = (layer.shape_out.height, layer.shape_out.width, layer.shape_out.channels)
        unit = x.quant.scale * value.steps.astype(np.float64)
        bias = self.graph.constant(f"{name}.bias", value.bias.astype(np.int32), unit)
        if layer.op == "linear":
            x = self._flat(name, x)
            # Its input is flattened row by row here, channel by channel in torch.
            weight = value.weight.reshape(-1, *layer.shape_in).transpose(0, 2, 3, 1).reshape(len(value.weight), -1)
            weights = self.graph.constant(f"{name}.weight", weight, value.steps)
            return self.graph.apply(
                "FULLY_CONNECTED", [x.tensor, weights, bias], name, shape[2:], output,
                FusedActivationFunction=_FUSED[act],
            )  # fmt: skip
        x, padding = self._padded(name, layer, x)
        options = {
            "Padding": padding, "StrideW": layer.stride, "StrideH": layer.stride, "FusedActivationFunction": _FUSED[act]
        }  # fmt: skip
        if layer.groups == 1:
            weights = self.graph.constant(f"{name}.weight", value.weight.transpose(0, 2, 3, 1), value.steps)
            return self.graph.apply("CONV_2D", [x.tensor, weights, bias], name, shape, output, **options)
        if not layer.groups == layer.shape_in.channels == layer.shape_out.channels:
            raise ValueError(
                f"{self.where}: layer {name} has {layer.groups} groups of {layer.shape_in.channels} channels; "
                f"TFLite files can have one group, or one for each channel"
            )
        weights = self.graph.constant(f"{name}.weight", value.weight.transpose(1, 2, 3, 0), value.steps, axis=3)
        return self.graph.apply(
            "DEPTHWISE_CONV_2D", [x.tensor, weights, bias], name, shape, output, DepthMultiplier=1, **options
        )

    def _padded(self, name: str, layer: Layer, x: Node) -> tuple[Node, int]:
        """The input of a convolution with what it lacks of its padding, and the padding that TFLite shall add."""
        if not layer.pad:
            return x, _VALID
        wanted, given = [], []
        for size, out in zip(x.shape, layer.shape_out[1:]):
            missing = max(0, (out - 1) * layer.stride + layer.kernel - size)
            given.append((missing // 2, missing - missing // 2))
            wanted.append((layer.pad, max(0, missing - layer.pad)))
        if wanted == given:
            return x, _SAME
        height, width, channels = x.shape
        (top, bottom), (left, right) = wanted
        paddings = np.array([(0, 0), (top, bottom), (left, right), (0, 0)], np.int32)
        number = self.graph.constant(f"{name}.paddings", paddings)
        shape = (height + top + bottom, width + left + right, channels)
        return self.graph.apply("PAD", [x.tensor, number], f"{name}.padded", shape, x.quant), _VALID

    def _flat(self, name: str, x: Node) -> Node:
        size = int(np.prod(x.shape))
        if x.shape == (size,):
            return x
        shape = self.graph.constant(f"{name}.shape", np.array([1, size], np.int32))
        return self.graph.apply("RESHAPE", [x.tensor, shape], f"{name}.flat", (size,), x.quant)

    def _pool(self, name: str, layer: Layer, value: Values, x: Node) -> Node:
        out = layer.shape_out[1:]
        # A branch's pooling covers the whole map, by a kernel that its geometry tells.
        step = [layer.kernel] * 2 if layer.kernel > 1 else [size // cells for size, cells in zip(x.shape, out)]
        window = step if layer.kernel > 1 else [s - (cells - 1) * n for s, cells, n in zip(x.shape, out, step)]
        shape = (*out, x.shape[2])
        if layer.pool == "max":
            return self.graph.apply(
                "MAX_POOL_2D", [x.tensor], name, shape, x.quant, Padding=_VALID, StrideH=step[0], StrideW=step[1],
                FilterHeight=window[0], FilterWidth=window[1], FusedActivationFunction=0,
            )  # fmt: skip
        if out != (1, 1) and max(step) > _LARGEST_STRIDE:
            return self._means(name, x, _given(value), window, step, shape)
        return self._mean(name, x, _given(value), window, [1, 1] if out == (1, 1) else step, shape)

    def _mean(
        self, name: str, x: Node, output: Quant, window: Sequence[int], step: Sequence[int], shape: tuple[int, ...]
    ) -> Node:
        """A convolution with equal weights: AVERAGE_POOL_2D keeps its input's scale, MEAN rounds its offset.

        The weights are the largest there are: kernels round sums of small ones twice.
        """
        channels = shape[2]
        weight = np.full((1, *window, channels), _LARGEST_WEIGHT, np.int8)
        steps = np.full(channels, 1 / (_LARGEST_WEIGHT * np.prod(window)))
        weights = self.graph.constant(f"{name}.weight", weight, steps, axis=3)
        bias = self.graph.constant(f"{name}.bias", np.zeros(channels, np.int32), steps * x.quant.scale)
        return self.graph.apply(
            "DEPTHWISE_CONV_2D", [x.tensor, weights, bias], name, shape, output,
            Padding=_VALID, StrideH=step[0], StrideW=step[1], DepthMultiplier=1, FusedActivationFunction=0,
        )  # fmt: skip

    def _means(
        self, name: str, x: Node, output: Quant, window: Sequence[int], step: Sequence[int], shape: tuple[int, ...]
    ) -> Node:
        """The mean of each window, cut out: where the windows lie further apart than a convolution can step."""
        rows, size = [], self.graph.constant(f"{name}.size", np.array([1, *window, shape[2]], np.int32))
        for i in range(shape[0]):
            cells = []
            for j in range(shape[1]):
                corner = np.array([0, i * step[0], j * step[1], 0], np.int32)
                begin = self.graph.constant(f"{name}.{i}.{j}.begin", corner)
                piece = (*window, shape[2])
                cut = self.graph.apply("SLICE", [x.tensor, begin, size], f"{name}.{i}.{j}.cut", piece, x.quant)
                cells.append(self._mean(f"{name}.{i}.{j}", cut, output, window, [1, 1], (1, 1, shape[2])))
            rows.append(self._joined(f"{name}.{i}", cells, 2, (1, shape[1], shape[2])))
        return self._joined(name, rows, 1, shape)

    def _joined(self, name: str, parts: list[Node], axis: int, shape: tuple[int, ...]) -> Node:
        numbers = [part.tensor for part in parts]
        return self.graph.apply(
            "CONCATENATION", numbers, name, shape, parts[0].quant, Axis=axis, FusedActivationFunction=0
        )


def _within_int32(value: Values) -> Values:
    """The same in larger steps for channels whose bias lies beyond what a 32-bit sum has room for.

    A squeeze-excite that training switched off has such. Where the bias is that large, what rounding the weights more
    coarsely changes in their products is small beside it: in eight bits of output it does not show.
    """
    assert value.weight is not None
    assert value.steps is not None
    assert value.bias is not None
    times = np.maximum(1, np.ceil(np.abs(value.bias) / _LARGEST_BIAS))
    if (times == 1).all():
        return value
    weight = np.rint(value.weight / times.reshape(-1, *[1] * (value.weight.ndim - 1)))
    return value._replace(weight=weight.astype(np.int8), steps=value.steps * times, bias=np.rint(value.bias / times))


def _given(value: Values) -> Quant:
    assert value.output is not None
    return value.output


def _before_hardswish(output: Quant) -> Quant:
    """The finest scale that spans everything below which hard swish is 0 (-3) to where its output ends."""
    top = max(output.highest, 0.0)
    if top < 3:
        top = (-3 + (9 + 24 * top) ** 0.5) / 2  # the x with x * (x + 3) / 6 = top
    below = max(1, floor(3 * 255 / (top + 3)))
    return Quant(3 / below, below - 128)
