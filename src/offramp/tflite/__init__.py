"""Stages of 8-bit networks as TFLite files, written without TensorFlow (`pip install offramp[ethos]`)."""

from offramp.tflite.file import write
from offramp.tflite.graph import Graph, Quant, Tensor
from offramp.tflite.stage import StageValues, Values, check_bits, stage_graph

__all__ = ["Graph", "Quant", "StageValues", "Tensor", "Values", "check_bits", "stage_graph", "write"]
