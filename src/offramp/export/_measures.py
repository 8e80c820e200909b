"""The confidence measures of `offramp.policy`, as ONNX operators on the logits (1, K) of one sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto, helper, numpy_helper

from offramp.export._errors import ExportError
from offramp.policy import CERTAIN


def score_nodes(
    measure: str, logits: Sequence[str], prefix: str, gates: Sequence[str | None] = ()
) -> tuple[list[NodeProto], str]:
    """Nodes that score the last of the exits seen so far, and the name of the result: a scalar, larger is surer.

    Args:
        measure: one of `offramp.policy.MEASURES` or `GATE_MEASURES`.
        logits: the values that hold the logits of the exits seen so far.
        prefix: what the names of new values begin with.
        gates: the values (1, 1) that hold the gates' logits of the exits seen so far, None at exits without a gate.

    Raises:
        ExportError: the measure has no form in ONNX yet, or needs gates and there are none.
    """
    if measure in _GATE_SCORES:
        if not any(gates):
            raise ExportError(f"measure {measure!r} reads the exits' gates, but these exits have none")
        return _gate_nodes(measure, gates, prefix), f"{prefix}.score"
    if measure not in _SCORES:
        known = ", ".join((*_SCORES, *_GATE_SCORES))
        raise ExportError(f"measure {measure!r} cannot be exported; those that can are {known}")
    return _SCORES[measure](logits[-1], prefix), f"{prefix}.score"


def constant(value: np.ndarray, name: str) -> NodeProto:
    """A node that gives `value`."""
    return helper.make_node("Constant", [], [name], name=name, value=numpy_helper.from_array(value))


def node(op: str, inputs: Sequence[str], output: str, **attributes: object) -> NodeProto:
    """A node with one output, named like it."""
    return helper.make_node(op, list(inputs), [output], name=output, **attributes)


def _max_probability(logits: str, prefix: str) -> list[NodeProto]:
    probability = f"{prefix}.probability"
    return [
        node("Softmax", [logits], probability, axis=-1),
        node("ReduceMax", [probability], f"{prefix}.score", keepdims=0),
    ]


def _entropy(logits: str, prefix: str) -> list[NodeProto]:
    log, probability, product = f"{prefix}.log", f"{prefix}.probability", f"{prefix}.product"
    return [
        node("LogSoftmax", [logits], log, axis=-1),
        node("Exp", [log], probability),
        node("Mul", [probability, log], product),
        node("ReduceSum", [product], f"{prefix}.score", keepdims=0),
    ]


def _margin(logits: str, prefix: str) -> list[NodeProto]:
    probability, two, top = f"{prefix}.probability", f"{prefix}.two", f"{prefix}.top"
    signs, signed = f"{prefix}.signs", f"{prefix}.signed"
    return [
        node("Softmax", [logits], probability, axis=-1),
        constant(np.array([2], np.int64), two),
        helper.make_node("TopK", [probability, two], [top, f"{top}.places"], name=top),
        constant(np.array([1, -1], np.float32), signs),
        node("Mul", [top, signs], signed),
        node("ReduceSum", [signed], f"{prefix}.score", keepdims=0),
    ]


def _gate_nodes(measure: str, gates: Sequence[str | None], prefix: str) -> list[NodeProto]:
    """The gates' logits side by side (1, seen), then the score."""
    side, certain = f"{prefix}.gates", f"{prefix}.certain"
    nodes = [constant(np.full((1, 1), CERTAIN, np.float32), certain)] if None in gates else []
    nodes.append(node("Concat", [gate or certain for gate in gates], side, axis=1))
    return nodes + _GATE_SCORES[measure](side, len(gates), prefix)


def _stays(gates: str, prefix: str) -> list[NodeProto]:
    """`{prefix}.stays`, a scalar: the product of 1 - sigmoid over all the given gates."""
    negated, doubts = f"{prefix}.negated", f"{prefix}.doubts"
    return [
        node("Neg", [gates], negated),
        node("Sigmoid", [negated], doubts),
        node("ReduceProd", [doubts], f"{prefix}.stays", keepdims=0),
    ]


def _gate(gates: str, seen: int, prefix: str) -> list[NodeProto]:
    last, sure = f"{prefix}.last", f"{prefix}.own"
    if seen == 1:
        return [node("Sigmoid", [gates], sure), node("ReduceSum", [sure], f"{prefix}.score", keepdims=0)]
    sizes, before, product = f"{prefix}.parts", f"{prefix}.before", f"{prefix}.share"
    return [
        constant(np.array([seen - 1, 1], np.int64), sizes),
        helper.make_node("Split", [gates, sizes], [before, last], name=before, axis=1),
        *_stays(before, prefix),
        node("Sigmoid", [last], sure),
        node("Mul", [sure, f"{prefix}.stays"], product),
        node("ReduceSum", [product], f"{prefix}.score", keepdims=0),
    ]


def _gate_sum(gates: str, seen: int, prefix: str) -> list[NodeProto]:
    one = f"{prefix}.one"
    return [
        *_stays(gates, prefix),
        constant(np.array(1, np.float32), one),
        node("Sub", [one, f"{prefix}.stays"], f"{prefix}.score"),
    ]


_GATE_SCORES: dict[str, Callable[[str, int, str], list[NodeProto]]] = {"gate": _gate, "gate_sum": _gate_sum}

_SCORES: dict[str, Callable[[str, str], list[NodeProto]]] = {
    "max_probability": _max_probability,
    "entropy": _entropy,
    "margin": _margin,
}
