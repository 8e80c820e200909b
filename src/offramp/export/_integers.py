"""Quantized networks as QuantizeLinear and DequantizeLinear: before torch's exporter, and after it."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from offramp.nn import EarlyExitNet
from offramp.nn.network import StageModule
from offramp.nn.quantize import rounds
from offramp.nn.rounding import RoundedConv, RoundedLayer, RoundedLinear, Rounding, positive

_CLIPPED = 8  # bits from which on the integer type itself is the limit
_LARGEST_BIAS = 2**30  # leaves half of a 32-bit sum to its products
_PASSES_ON = {"MaxPool", "Flatten", "Reshape", "ReduceMax"}  # operators whose output has the input's step


def with_qdq(net: EarlyExitNet) -> EarlyExitNet:
    """A copy of a frozen `net` whose roundings are operators that torch exports; `net` itself where it has none.

    Activations become uint8, those of fewer bits clipped before; weights int8, on the grid of their bits. A stage
    behind an exit rounds its input once more, which changes no number: ONNX Runtime joins DequantizeLinear and the
    convolution after it only where both lie in the same branch of an `If`.
    """
    if not rounds(net):
        return net
    net = copy.deepcopy(net).requires_grad_(False)
    behind = [_input_rounding(stage) for stage in net.ordered]
    for number, stage in enumerate(net.ordered[1:], 1):
        source = behind[number]
        if source is not None and net.ordered[number - 1].exit is not None:
            stage.blocks.insert(0, _Qdq(source))
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Rounding):
                setattr(parent, name, _Qdq(child))
            elif isinstance(child, (RoundedConv, RoundedLinear)):
                setattr(parent, name, _QdqLayer(child))
    return net


def _input_rounding(stage: StageModule) -> Rounding | None:
    """What rounds the input of a stage, where a layer reads it."""
    layers = [module for module in stage.blocks[0].modules() if isinstance(module, RoundedLayer)]
    return layers[0].sources[0] if layers and layers[0].sources else None


class _Qdq(nn.Module):
    def __init__(self, rounding: Rounding) -> None:
        super().__init__()
        step = float(positive(rounding.step))
        self.step, self.zero, self.levels = step, int(rounding.zero), rounding.levels

    def forward(self, x: Tensor) -> Tensor:
        if self.levels < 2**_CLIPPED:
            x = x.clamp(-self.zero * self.step, (self.levels - 1 - self.zero) * self.step)
        return torch.fake_quantize_per_tensor_affine(x, self.step, self.zero, 0, 255)


class _QdqLayer(nn.Module):
    def __init__(self, layer: RoundedConv | RoundedLinear) -> None:
        super().__init__()
        weight, bias = layer.rounded()
        self.plain = copy.deepcopy(layer)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.register_buffer("step", positive(layer.weight_step))
        self.register_buffer("zero", torch.zeros(len(weight), dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.fake_quantize_per_channel_affine(self.weight, self.step, self.zero, 0, -128, 127)  # type: ignore[arg-type]
        if isinstance(self.plain, nn.Conv2d):
            return self.plain._conv_forward(x, weight, self.bias)  # type: ignore[arg-type]
        return nn.functional.linear(x, weight, self.bias)  # type: ignore[arg-type]


def store_integers(graph: onnx.GraphProto) -> None:
    """Replace rounded weights by the int8 numbers they stand for, and the biases of such layers by int32 numbers.

    Changes `graph` in place; the exporters write a QuantizeLinear behind a float tensor instead.
    """
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            stored[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Identity" and node.input[0] in stored:
            stored[node.output[0]] = stored[node.input[0]]
    makers = {output: node for node in graph.node for output in node.output}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] in stored:
            weight, step, zero = (stored[name] for name in node.input)
            step = step.reshape([-1] + [1] * (weight.ndim - 1))
            limits = np.iinfo(zero.dtype)
            integers = np.rint(weight / step).clip(limits.min, limits.max).astype(zero.dtype)
            graph.initializer.append(numpy_helper.from_array(integers, node.output[0]))
            continue
        if node.op_type in ("Conv", "Gemm") and len(node.input) == 3 and node.input[2] in stored:
            nodes += _integer_bias(graph, node, stored, makers)
        nodes.append(node)
    kept = list(map(_copied, nodes))
    del graph.node[:]
    graph.node.extend(kept)


def _integer_bias(
    graph: onnx.GraphProto, node: onnx.NodeProto, stored: dict[str, np.ndarray], makers: dict[str, onnx.NodeProto]
) -> list[onnx.NodeProto]:
    """What gives the bias of `node` from integers, and makes `node` read that; nothing where its steps are unknown."""
    steps = [_step_of(name, stored, makers) for name in node.input[:2]]
    if steps[0] is None or steps[1] is None:
        return []
    unit = (steps[0] * steps[1]).astype(np.float32)
    integers = np.rint(stored[node.input[2]].astype(np.float64) / unit)
    if np.abs(integers).max() > _LARGEST_BIAS:
        return []  # stays float
    name = f"{node.output[0]}.bias"
    graph.initializer.append(numpy_helper.from_array(integers.astype(np.int32), f"{name}.integers"))
    graph.initializer.append(numpy_helper.from_array(unit, f"{name}.step"))
    node.input[2] = name
    return [helper.make_node("DequantizeLinear", [f"{name}.integers", f"{name}.step"], [name], name=name, axis=0)]


def _step_of(name: str, stored: dict[str, np.ndarray], makers: dict[str, onnx.NodeProto]) -> np.ndarray | None:
    maker = makers.get(name)
    while maker is not None and maker.op_type in _PASSES_ON:
        maker = makers.get(maker.input[0])
    return stored[maker.input[1]] if maker is not None and maker.op_type == "DequantizeLinear" else None


def _copied(node: onnx.NodeProto) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied
