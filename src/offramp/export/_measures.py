"""The confidence measures of `offramp.policy`, as ONNX operators on the logits (1, K) of one sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto, helper, numpy_helper

from offramp.export._errors import ExportError


def score_nodes(measure: str, logits: Sequence[str], prefix: str) -> tuple[list[NodeProto], str]:
    """Nodes that score the last of the exits seen so far, and the name of the result: a scalar, larger is surer.

    Args:
        measure: one of `offramp.policy.MEASURES`.
        logits: the values that hold the logits of the exits seen so far.
        prefix: what the names of new values begin with.

    Raises:
        ExportError: the measure has no form in ONNX yet.
    """
    if measure not in _SCORES:
        raise ExportError(f"measure {measure!r} cannot be exported; those that can are {', '.join(_SCORES)}")
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


_SCORES: dict[str, Callable[[str, str], list[NodeProto]]] = {
    "max_probability": _max_probability,
    "entropy": _entropy,
    "margin": _margin,
}
