"""Cutting a plain graph into what each exit adds, and giving everything in it a short name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from offramp.export._errors import ExportError

_WEIGHT_NAMES = {("Conv", 1): "weight", ("Conv", 2): "bias", ("Gemm", 1): "weight", ("Gemm", 2): "bias"}


class Part(NamedTuple):
    """The nodes that an exit needs and no earlier exit does, in order of execution, and the tensors they read."""

    nodes: list[onnx.NodeProto]
    weights: list[onnx.TensorProto]
    logits: str  # the value (1, K) that it ends with; (1, K + 1) from a branch with a gate, until `without_gate`
    gate: str | None = None  # the value (1, 1) of its gate's logit, where it has one


def without_gate(part: Part, classes: int, prefix: str) -> Part:
    """The part of a branch with a gate, whose K + 1 numbers are taken apart: the classes' logits, and the gate's."""
    sizes, logits, gate = (f"{prefix}.{name}" for name in ("sizes", "classes", "gate"))
    value = numpy_helper.from_array(np.array([classes, 1], np.int64))
    split = [
        helper.make_node("Constant", [], [sizes], name=sizes, value=value),
        helper.make_node("Split", [part.logits, sizes], [logits, gate], name=logits, axis=1),
    ]
    return Part([*part.nodes, *split], part.weights, logits, gate)


def cut(graph: onnx.GraphProto) -> list[Part]:
    """One part for each output of `graph`, by data flow; a part reads values of its own and of those before it.

    Names are made anew: the exporters' carry module paths. Doc strings and annotations are left behind.

    Raises:
        ExportError: an operator is not a standard one.
    """
    nodes = _spelled_out(_checked(_without_identities(graph)))
    values = {"": ""} | {value.name: value.name for value in graph.input}  # "": an optional input left out
    stored = {tensor.name: tensor for tensor in graph.initializer}
    parts, done = [], set[str]()
    for number, output in enumerate(graph.output):
        needed = _needed(nodes, output.name) - done
        mine = [node for node in nodes if node.output[0] in needed]
        # Every part has its own copy of a tensor: ONNX Runtime does not treat those of an outer graph as constant, and
        # convolutions with such weights take twice as long.
        weights: dict[str, onnx.TensorProto] = {}
        renamed = [_renamed(node, f"exit{number}.{i}", values, stored, weights) for i, node in enumerate(mine)]
        parts.append(Part(renamed, list(weights.values()), values[output.name]))
        done |= needed
    return parts


def _needed(nodes: Sequence[onnx.NodeProto], output: str) -> set[str]:
    """First outputs of the nodes that `output` depends on."""
    wanted, found = {output}, set()
    for node in reversed(nodes):
        if wanted & set(node.output):
            found.add(node.output[0])
            wanted |= set(node.input)
    return found


def _renamed(
    node: onnx.NodeProto,
    prefix: str,
    values: dict[str, str],
    stored: dict[str, onnx.TensorProto],
    weights: dict[str, onnx.TensorProto],
) -> onnx.NodeProto:
    """A bare copy of `node` with new names; what it gives is added to `values`, a tensor not yet there to `weights`."""
    title = f"{prefix}.{node.op_type}"
    for i, name in enumerate(node.input):
        if name in stored and name not in weights:
            weights[name] = _bare_tensor(stored[name], f"{title}.{_WEIGHT_NAMES.get((node.op_type, i), i)}")
    for i, name in enumerate(node.output):
        values[name] = title if i == 0 else f"{title}.out{i}"
    inputs = [weights[name].name if name in stored else values[name] for name in node.input]
    outputs = [values[name] for name in node.output]
    bare = onnx.NodeProto(op_type=node.op_type, name=title, input=inputs, output=outputs)
    bare.attribute.extend(node.attribute)
    for attribute in bare.attribute:
        attribute.ClearField("doc_string")
        if attribute.HasField("t"):
            attribute.t.CopyFrom(_bare_tensor(attribute.t, ""))
    return bare


def _bare_tensor(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    bare = onnx.TensorProto()
    bare.CopyFrom(tensor)
    bare.name = name
    bare.ClearField("doc_string")
    bare.ClearField("metadata_props")
    return bare


def _without_identities(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes of `graph`, less those that only pass a value on (the exporter's way to share equal tensors)."""
    kept, alias = [], dict[str, str]()
    outputs = {output.name for output in graph.output}
    for node in graph.node:
        inputs = [alias.get(name, name) for name in node.input]
        if node.op_type == "Identity" and node.output[0] not in outputs:
            alias[node.output[0]] = inputs[0]
            continue
        kept.append(onnx.NodeProto())
        kept[-1].CopyFrom(node)
        kept[-1].input[:] = inputs
    return kept


def _checked(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    foreign = sorted({f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in ("", "ai.onnx")})
    if foreign:
        raise ExportError(f"the network needs operators outside the ONNX standard: {', '.join(foreign)}")
    return nodes


def _spelled_out(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """With `x HardSigmoid(x)` for HardSwish.

    ONNX Runtime puts the one for the other itself, under the same names in every branch of an `If`: a file that its
    optimiser then saves could not be read again.
    """
    found = []
    for node in nodes:
        if node.op_type != "HardSwish":
            found.append(node)
            continue
        x, y = node.input[0], node.output[0]
        found.append(helper.make_node("HardSigmoid", [x], [f"{y}.gate"], alpha=1 / 6, beta=0.5))
        found.append(helper.make_node("Mul", [x, f"{y}.gate"], [y]))
    return found
