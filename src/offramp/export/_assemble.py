"""The file: the parts of the exits in nested `If`, so that what comes after the exit taken never runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from offramp.export._measures import constant, node, score_nodes
from offramp.export._metadata import About, offramp_version
from offramp.export._parts import Part

IR_VERSION = 8  # that of opset 18
_SUMMARY = (
    "An early-exit network. A sample leaves at the first exit whose score reaches its threshold, at the last always. "
    "Larger scores are surer; metadata offramp.measure names how they are computed, offramp.thresholds the defaults."
)


def assemble(parts: Sequence[Part], about: About, opset: int, extra: Mapping[str, str] | None = None) -> ModelProto:
    """The model of the given parts.

    Inputs `image` (1, C, H, W) and, where there is more than one exit, `thresholds` (E - 1,); outputs `logits`
    (1, K) and `exit`, a scalar int64 in 0..E-1.
    """
    nest = _Nest(parts, about.policy.measure, len(about.classes))
    graph = nest.graph(0, ("logits", "exit"), "early_exit_network")
    graph.input.append(_input("image", [1, *about.input], "values in 0..255"))
    if len(parts) > 1:
        graph.input.append(_input("thresholds", [len(parts) - 1], "one per early exit"))
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, doc_string=_SUMMARY)
    model.producer_name, model.producer_version = "offramp", offramp_version()
    helper.set_model_props(model, {**(extra or {}), **about.to_metadata()})
    return model


def _input(name: str, shape: list[int], what: str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape, what)


class _Nest:
    """Builds the graphs from the outside in; one for what runs from an exit's part on, one for leaving at an exit."""

    def __init__(self, parts: Sequence[Part], measure: str, classes: int) -> None:
        self.parts, self.measure, self.classes = parts, measure, classes

    def graph(self, number: int, outputs: tuple[str, str], name: str) -> GraphProto:
        """Run the part of exit `number`, then leave there or go on."""
        part = self.parts[number]
        if number == len(self.parts) - 1:
            return self._graph(name, [*part.nodes, *_leave(part.logits, number, outputs)], outputs, part.weights)
        title = f"exit{number}"
        seen = self.parts[: number + 1]
        scores, score = score_nodes(self.measure, [s.logits for s in seen], title, [s.gate for s in seen])
        branch = helper.make_node(
            "If",
            [f"{title}.sure"],
            list(outputs),
            name=f"{title}.If",
            then_branch=self._leaving(number),
            else_branch=self.graph(number + 1, (f"{title}.later.logits", f"{title}.later.exit"), f"after_{title}"),
        )
        return self._graph(name, [*part.nodes, *scores, *_compare(score, number, title), branch], outputs, part.weights)

    def _leaving(self, number: int) -> GraphProto:
        outputs = (f"exit{number}.logits", f"exit{number}.exit")
        return self._graph(f"leave_exit{number}", _leave(self.parts[number].logits, number, outputs), outputs, [])

    def _graph(
        self, name: str, nodes: list[NodeProto], outputs: tuple[str, str], weights: list[TensorProto]
    ) -> GraphProto:
        return helper.make_graph(nodes, name, [], _results(outputs, self.classes), weights)


def _leave(logits: str, number: int, outputs: tuple[str, str]) -> list[NodeProto]:
    return [node("Identity", [logits], outputs[0]), constant(np.array(number, np.int64), outputs[1])]


def _compare(score: str, number: int, title: str) -> list[NodeProto]:
    place, threshold = f"{title}.place", f"{title}.threshold"
    return [
        constant(np.array(number, np.int64), place),
        node("Gather", ["thresholds", place], threshold),
        node("GreaterOrEqual", [score, threshold], f"{title}.sure"),
    ]


def _results(names: tuple[str, str], classes: int) -> list[ValueInfoProto]:
    logits = helper.make_tensor_value_info(names[0], TensorProto.FLOAT, [1, classes])
    return [logits, helper.make_tensor_value_info(names[1], TensorProto.INT64, [])]
