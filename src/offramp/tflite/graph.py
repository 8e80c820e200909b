"""A graph of integer operators as TFLite knows them: tensors, and operators that read and write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Quant(NamedTuple):
    """What the integers of an int8 tensor stand for: (integer - `zero`) * `scale`; `zero` is -128 to 127."""

    scale: float
    zero: int

    @property
    def highest(self) -> float:
        """The largest value that can be written."""
        return (127 - self.zero) * self.scale


class Tensor(NamedTuple):
    """A tensor; `data` is None where it is computed. `scales` has one entry, or one for each slice along `axis`."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # int8, int32
    scales: NDArray[np.float32] | None = None
    zero: int = 0
    axis: int = 0
    data: NDArray[Any] | None = None


class Operator(NamedTuple):
    """An operator by TFLite's name; `options` are the fields of its options table."""

    code: str
    inputs: tuple[int, ...]
    output: int
    options: dict[str, int]


class Node(NamedTuple):
    """An int8 tensor of the graph that is computed: its number, shape without the batch of 1, and scale."""

    tensor: int
    shape: tuple[int, ...]
    quant: Quant


class Graph:
    """Operators in order of execution; `inputs` and `outputs` by the names that a signature gives them."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.inputs: dict[str, int] = {}
        self.outputs: dict[str, int] = {}

    def node(self, name: str, shape: tuple[int, ...], quant: Quant) -> Node:
        """A new int8 tensor (1, *shape), to be computed."""
        scales = np.array([quant.scale], np.float32)
        return Node(self._add(Tensor(name, (1, *shape), "int8", scales, quant.zero)), shape, quant)

    def output_quant(self, name: str) -> Quant:
        """What the integers of an output stand for."""
        tensor = self.tensors[self.outputs[name]]
        assert tensor.scales is not None
        return Quant(float(tensor.scales[0]), tensor.zero)

    def constant(self, name: str, data: NDArray[Any], scales: NDArray[np.floating] | None = None, axis: int = 0) -> int:
        """A new tensor that holds `data`; gives its number."""
        scales = None if scales is None else scales.astype(np.float32)
        return self._add(Tensor(name, data.shape, data.dtype.name, scales, 0, axis, data))

    def apply(
        self, code: str, inputs: Sequence[int], name: str, shape: tuple[int, ...], quant: Quant, **options: int
    ) -> Node:
        """The output of a new operator: int8 (1, *shape)."""
        made = self.node(name, shape, quant)
        self.operators.append(Operator(code, tuple(inputs), made.tensor, options))
        return made

    def _add(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1
