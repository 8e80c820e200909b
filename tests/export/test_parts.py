"""Cutting a graph into what each exit adds."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from offramp.export import ExportError
from offramp.export._convert import convert, frozen
from offramp.export._parts import cut


def _graph(nodes, outputs):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("image", *outputs)]
    weights = [numpy_helper.from_array(np.ones(1, np.float32), name) for name in ("w", "v")]
    return helper.make_graph(nodes, "g", values[:1], values[1:], weights)


def _node(op, inputs, output, **more):
    return helper.make_node(op, inputs.split(), [output], name=f"/net/{output}", **more)


def test_parts_follow_the_data():
    nodes = [
        _node("Add", "image w", "a"),
        _node("Relu", "a", "side"),  # only the second exit reads it, though it comes before the first one's end
        _node("Identity", "w", "w2"),
        _node("Mul", "a w2", "first"),
        _node("Relu", "image", "nobody"),
        _node("Mul", "side w2", "b"),
        _node("Clip", "b  v", "second"),
    ]
    nodes[-1].input[:] = ["b", "", "v"]
    first, second = cut(_graph(nodes, ["first", "second"]))
    assert [n.op_type for n in first.nodes] == ["Add", "Mul"]
    assert [n.op_type for n in second.nodes] == ["Relu", "Mul", "Clip"]
    assert (first.logits, second.logits) == ("exit0.1.Mul", "exit1.2.Clip")
    assert [t.name for t in first.weights] == ["exit0.0.Add.1"]  # one tensor, read twice
    assert [t.name for t in second.weights] == ["exit1.1.Mul.1", "exit1.2.Clip.2"]  # its own copy
    assert list(second.nodes[0].input) == ["exit0.0.Add"]
    assert list(second.nodes[2].input) == ["exit1.1.Mul", "", "exit1.2.Clip.2"]


def test_annotations_are_left_behind():
    secret = "/home/somebody/net.py"
    tensor = numpy_helper.from_array(np.ones(1, np.float32), secret)
    tensor.doc_string = secret
    node = _node("Constant", "", "c", value=tensor, doc_string=secret)
    node.attribute[0].doc_string = secret
    node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value=secret)
    node.input[:] = []
    graph = _graph([node, _node("Mul", "c w", "d"), _node("Add", "d image", "e")], ["e"])
    graph.initializer[0].doc_string = secret
    (part,) = cut(graph)
    written = b"".join(message.SerializeToString() for message in [*part.nodes, *part.weights])
    assert b"Constant" in written
    assert b"/" not in written


def test_operators_outside_the_standard():
    with pytest.raises(ExportError, match=r"outside the ONNX standard: com\.microsoft\.FusedConv"):
        cut(_graph([_node("FusedConv", "image w", "a", domain="com.microsoft")], ["a"]))


def test_what_torch_cannot_convert():
    from export_nets import tiny, trained_like

    net = frozen(trained_like(tiny()))
    net.stages[0].exit.classifier.forward = lambda x: x.no_such_method()
    with pytest.raises(ExportError, match="torch cannot convert this network"):
        convert(net)
    assert isinstance(convert(frozen(trained_like(tiny()))), onnx.ModelProto)
