"""A graph as a .tflite file: flatbuffers, by the schema's classes that Arm's Vela carries."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from offramp.tflite.graph import Graph, Operator, Tensor

_SCHEMA = "ethosu.vela.tflite"
_ALIGNMENT = 16  # of constants, as the schema demands

# Version since which an operator can do what is asked of it here (int8, per-channel weights), and its table of options.
_OPERATORS: dict[str, tuple[int, str | None]] = {
    "ADD": (2, "AddOptions"),
    "CONCATENATION": (2, "ConcatenationOptions"),
    "CONV_2D": (3, "Conv2DOptions"),
    "DEPTHWISE_CONV_2D": (3, "DepthwiseConv2DOptions"),
    "FULLY_CONNECTED": (12, "FullyConnectedOptions"),
    "HARD_SWISH": (1, "HardSwishOptions"),
    "MAX_POOL_2D": (2, "Pool2DOptions"),
    "MUL": (2, "MulOptions"),
    "PAD": (2, "PadOptions"),
    "RELU": (2, None),
    "RELU6": (2, None),
    "RESHAPE": (1, "ReshapeOptions"),
    "SLICE": (2, "SliceOptions"),
}


def write(graph: Graph) -> bytes:
    """The contents of a .tflite file: one subgraph, one signature.

    Raises:
        RuntimeError: the classes of the schema are not installed.
    """
    return _Writer().file(graph)


def _schema(table: str) -> Any:
    try:
        return import_module(f"{_SCHEMA}.{table}")
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"writing TFLite files needs {error.name!r}, which is not installed: pip install 'offramp[ethos]'"
        ) from None


class _Writer:
    def __init__(self) -> None:
        codes = _schema("BuiltinOperator").BuiltinOperator
        self._numbers = {name: int(getattr(codes, name)) for name in _OPERATORS}
        self._options = _schema("BuiltinOptions").BuiltinOptions
        self._types = _schema("TensorType").TensorType
        import flatbuffers

        self._builder = flatbuffers.Builder(1 << 16)

    def file(self, graph: Graph) -> bytes:
        used = sorted({operator.code for operator in graph.operators})
        buffers = [self._table("Buffer")]  # the first is empty, for tensors that are computed
        numbers = []
        for tensor in graph.tensors:
            numbers.append(0 if tensor.data is None else len(buffers))
            if tensor.data is not None:
                buffers.append(self._table("Buffer", Data=self._bytes(np.ascontiguousarray(tensor.data).tobytes())))
        subgraph = self._table(
            "SubGraph",
            Tensors=self._tables([self._tensor(t, b) for t, b in zip(graph.tensors, numbers)]),
            Inputs=self._vector(list(graph.inputs.values()), np.int32),
            Outputs=self._vector(list(graph.outputs.values()), np.int32),
            Operators=self._tables([self._operator(o, used.index(o.code)) for o in graph.operators]),
            Name=self._text("main"),
        )
        signature = self._table(
            "SignatureDef",
            Inputs=self._tables([self._named(*item) for item in graph.inputs.items()]),
            Outputs=self._tables([self._named(*item) for item in graph.outputs.items()]),
            SignatureKey=self._text("serving_default"),
        )
        model = self._table(
            "Model",
            Version=3,
            OperatorCodes=self._tables([self._code(name) for name in used]),
            Subgraphs=self._tables([subgraph]),
            Description=self._text("Offramp"),
            Buffers=self._tables(buffers),
            SignatureDefs=self._tables([signature]),
        )
        self._builder.Finish(model, b"TFL3")
        return bytes(self._builder.Output())

    def _tensor(self, tensor: Tensor, buffer: int) -> int:
        quantization: dict[str, int] = {}
        if tensor.scales is not None:
            table = self._table(
                "QuantizationParameters",
                Scale=self._vector(tensor.scales, np.float32),
                ZeroPoint=self._vector([tensor.zero] * len(tensor.scales), np.int64),
                QuantizedDimension=tensor.axis,
            )
            quantization = {"Quantization": table}
        return self._table(
            "Tensor",
            Shape=self._vector(tensor.shape, np.int32),
            Type=int(getattr(self._types, tensor.dtype.upper())),
            Buffer=buffer,
            Name=self._text(tensor.name),
            HasRank=True,
            **quantization,
        )

    def _operator(self, operator: Operator, opcode: int) -> int:
        table = _OPERATORS[operator.code][1]
        options = {}
        if table is not None:
            kind = int(getattr(self._options, table))
            options = {"BuiltinOptionsType": kind, "BuiltinOptions": self._table(table, **operator.options)}
        return self._table(
            "Operator",
            OpcodeIndex=opcode,
            Inputs=self._vector(operator.inputs, np.int32),
            Outputs=self._vector([operator.output], np.int32),
            **options,
        )

    def _code(self, name: str) -> int:
        # Numbers below 128 stand in both fields; none used here is above.
        number = self._numbers[name]
        return self._table(
            "OperatorCode", DeprecatedBuiltinCode=number, BuiltinCode=number, Version=_OPERATORS[name][0]
        )

    def _named(self, name: str, tensor: int) -> int:
        return self._table("TensorMap", Name=self._text(name), TensorIndex=tensor)

    def _table(self, table: str, **fields: Any) -> int:
        """A table; the fields that are vectors, texts or tables themselves are given by their offsets."""
        module = _schema(table)
        module.Start(self._builder)
        for field, value in fields.items():
            getattr(module, f"Add{field}")(self._builder, value)
        return int(module.End(self._builder))

    def _text(self, text: str) -> int:
        return int(self._builder.CreateString(text))

    def _vector(self, values: Any, dtype: type) -> int:
        return int(self._builder.CreateNumpyVector(np.asarray(values, dtype)))

    def _tables(self, offsets: Sequence[int]) -> int:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        return int(self._builder.EndVector())

    def _bytes(self, data: bytes) -> int:
        self._builder.StartVector(1, len(data), _ALIGNMENT)
        self._builder.head -= len(data)
        self._builder.Bytes[self._builder.head : self._builder.head + len(data)] = data
        return int(self._builder.EndVector())
