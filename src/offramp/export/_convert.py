"""A network as one plain ONNX graph that computes every exit: torch's part of the work."""

from __future__ import annotations

import copy
import io
import logging
import warnings

import onnx
import torch
from torch import Tensor, nn

from offramp.export._errors import ExportError
from offramp.export._integers import store_integers, with_qdq
from offramp.nn import EarlyExitNet

OPSET = 18  # 2022: read by ONNX Runtime from 1.14 on


class _Exits(nn.Module):
    """What every exit's branch gives (K logits, or K + 1 with a gate), each as an output of its own."""

    def __init__(self, net: EarlyExitNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x, logits = self.net.enter(image), []
        for stage in self.net.stages:
            x = stage(x)
            if stage.exit is not None:
                assert isinstance(stage.exit, nn.Module)
                logits.append(stage.exit(x))
        return tuple(logits)


def frozen(net: EarlyExitNet) -> EarlyExitNet:
    """A copy of `net` for inference: on the CPU, float32, in the default memory layout."""
    net = copy.deepcopy(net).cpu().float().eval()
    return net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def convert(net: EarlyExitNet, dynamo: bool | None = None) -> onnx.ModelProto:
    """The plain graph of a frozen `net`: input `image` (1, C, H, W), outputs `exit0`, `exit1`, ...; batch norm folded.

    What a quantized network rounds becomes QuantizeLinear and DequantizeLinear, its weights and biases integers.

    Args:
        dynamo: which of torch's two exporters. None: the TorchScript one, which takes a tenth of the time (0.3 s, not
            3 s and 6 s of imports, for five exits), and where that fails, or torch no longer has it, the one built on
            torch.export. The graphs are equally fast.

    Raises:
        ExportError: torch cannot convert the network.
    """
    net, failures = with_qdq(net), []
    for choice in (False, True) if dynamo is None else (dynamo,):
        try:
            model = _torch_export(net, choice)
            store_integers(model.graph)
            return model
        except Exception as error:  # the exporters raise whatever their passes raise
            failures.append(error)
    reasons = "; ".join(f"{type(error).__name__}: {error}" for error in failures)
    raise ExportError(f"torch cannot convert this network to ONNX operators ({reasons})") from failures[-1]


def _torch_export(net: EarlyExitNet, dynamo: bool) -> onnx.ModelProto:
    exits = len(net.architecture.exits)
    names = {"input_names": ["image"], "output_names": [f"exit{e}" for e in range(exits)], "opset_version": OPSET}
    arguments = (_Exits(net).eval(), (torch.zeros(1, *net.architecture.input),))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        if not dynamo:
            file = io.BytesIO()
            torch.onnx.export(*arguments, file, dynamo=False, **names)  # type: ignore[arg-type]
            return onnx.load_from_string(file.getvalue())
        log = logging.getLogger("torch.onnx")
        level = log.level
        log.setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(*arguments, dynamo=True, verbose=False, **names)  # type: ignore[arg-type]
        finally:
            log.setLevel(level)
        assert program is not None
        return program.model_proto
