"""A single layer as an ONNX model, several times side by side, to be timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from offramp.layers import Layer

_OPSET, _IR = 18, 10
_SIXTH = {"alpha": 1 / 6, "beta": 0.5}


class _Graph:
    """Nodes and weights, as they are added."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._generator = np.random.default_rng(seed)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node; gives the name of its output."""
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def drawn(self, *shape: int) -> str:
        """Weights of a shape."""
        return self.constant(self._generator.standard_normal(shape).astype(np.float32))

    def constant(self, values: np.ndarray) -> str:
        """A stored tensor."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name


def model_of(layer: Layer, copies: int = 1) -> tuple[bytes, dict[str, np.ndarray]]:
    """`layer` in float with its activation, `copies` of it with weights of their own on one input; and an input.

    As the exported networks have it: batch norm folded into a bias, the map of a linear layer flat already.
    """
    graph, shape = _Graph(0), layer.shape_in
    given: tuple[int, ...] = (1, shape.elements) if layer.op == "linear" else (1, *shape)
    feeds = {"x": np.random.default_rng(1).standard_normal(given).astype(np.float32)}
    if layer.op in _SECOND:
        second = given if layer.op == "add" else (1, shape.channels, 1, 1)
        feeds["y"] = np.random.default_rng(2).standard_normal(second).astype(np.float32)
    outputs = [_act(graph, _OPERATORS[layer.op](graph, layer), layer.act) for _ in range(copies)]
    made = helper.make_graph(
        graph.nodes, "layer",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in feeds.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        graph.weights,
    )  # fmt: skip
    opset = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(made, opset_imports=opset, ir_version=_IR).SerializeToString(), feeds


def _conv(graph: _Graph, layer: Layer) -> str:
    out, into, kernel = layer.shape_out.channels, layer.shape_in.channels // layer.groups, layer.kernel
    weight, bias = graph.drawn(out, into, kernel, kernel), graph.drawn(out)
    return graph.add(
        "Conv", "x", weight, bias, group=layer.groups,
        kernel_shape=[kernel] * 2, strides=[layer.stride] * 2, pads=[layer.pad] * 4,
    )  # fmt: skip


def _linear(graph: _Graph, layer: Layer) -> str:
    out = layer.shape_out.channels
    return graph.add("Gemm", "x", graph.drawn(out, layer.shape_in.elements), graph.drawn(out), transB=1)


def _pool(graph: _Graph, layer: Layer) -> str:
    (_, height, width), (_, rows, columns) = layer.shape_in, layer.shape_out
    if (rows, columns) == (1, 1) and layer.kernel == 1:
        axes = graph.constant(np.array([2, 3], np.int64))
        return graph.add("ReduceMax" if layer.pool == "max" else "ReduceMean", "x", axes, keepdims=1)
    how = "MaxPool" if layer.pool == "max" else "AveragePool"
    if layer.kernel > 1:  # a block of the network, which leaves out what is left over at the edges
        return graph.add(how, "x", kernel_shape=[layer.kernel] * 2, strides=[layer.stride] * 2)
    steps = [height // rows, width // columns]  # to a grid: windows of equal size, which may overlap
    window = [height - (rows - 1) * steps[0], width - (columns - 1) * steps[1]]
    return graph.add(how, "x", kernel_shape=window, strides=steps)


def _add(graph: _Graph, layer: Layer) -> str:
    return graph.add("Add", "x", "y")


def _scale(graph: _Graph, layer: Layer) -> str:
    return graph.add("Mul", "x", "y")


def _resize(graph: _Graph, layer: Layer) -> str:
    sizes = graph.constant(np.array([1, *layer.shape_out], np.int64))
    return graph.add("Resize", "x", "", "", sizes, mode="cubic")


def _plain(graph: _Graph, layer: Layer) -> str:
    return "x"


def _act(graph: _Graph, x: str, act: str | None) -> str:
    if act is None:
        return x
    if act == "relu":
        return graph.add("Relu", x)
    if act == "relu6":
        return graph.add("Clip", x, graph.constant(np.array(0, np.float32)), graph.constant(np.array(6, np.float32)))
    gate = graph.add("HardSigmoid", x, **_SIXTH)
    return gate if act == "hardsigmoid" else graph.add("Mul", x, gate)


_SECOND = ("add", "scale")
_OPERATORS: dict[str, Callable[[_Graph, Layer], str]] = {
    "conv": _conv, "linear": _linear, "pool": _pool, "add": _add, "scale": _scale, "resize": _resize, "act": _plain,
}  # fmt: skip
