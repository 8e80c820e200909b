"""From a trained network and its policy to a `model.onnx` that has been checked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor

from offramp.export._assemble import assemble
from offramp.export._check import Check, compare
from offramp.export._convert import OPSET, convert, frozen
from offramp.export._metadata import About, checked_classes, checked_extra
from offramp.export._parts import cut, without_gate
from offramp.nn import EarlyExitNet
from offramp.nn.quantize import rounds
from offramp.policy import Policy

TOLERANCE = 1e-3
QUANTIZED_TOLERANCE = 0.25
"""For networks of few bits: two runtimes add in different orders, and a value on the verge may round either way."""


def export_onnx(
    net: EarlyExitNet,
    policy: Policy,
    path: str | Path,
    *,
    classes: Sequence[str],
    images: Tensor,
    tolerance: float = TOLERANCE,
    metadata: Mapping[str, str] | None = None,
) -> Check:
    """Write `net` as one ONNX file that really stops early, after checking under ONNX Runtime that it does the same.

    The file has standard operators only; `docs/export.md` says how to run it. `net` itself is left as it is.

    Args:
        net: trained; on any device, in any mode.
        policy: its measure is built into the file, its thresholds become the defaults kept in the file's metadata.
        path: where to; a file there is replaced at once, or not at all. Missing folders are made.
        classes: K names.
        images: uint8 (N, C, H, W), N >= 1, for the check; at most 1000 are used.
        tolerance: how much a logit may differ, relative to the largest one where that is above 1; for a network of few
            bits at least 0.25, and then 99.5 % of the images must have the same class.
        metadata: more strings for the file to carry; keys may not begin with `offramp.`.

    Raises:
        ValueError: arguments that do not fit the network.
        ExportError: the network cannot be expressed in ONNX, or the file fails the check; then nothing is written.
    """
    architecture, given = net.architecture, len(policy.thresholds)
    exits = len(architecture.exits)
    if policy.exits != exits:
        raise ValueError(f"policy has {given} thresholds; a network of {exits} exits needs {exits - 1}")
    about = About(policy, checked_classes(classes, architecture.classes), architecture.input)
    images, extra = _checked_images(images, architecture.input), checked_extra(metadata)
    net = frozen(net)
    file = build_file(net, about, extra)
    check = compare(file, net, policy, images, max(tolerance, QUANTIZED_TOLERANCE) if rounds(net) else tolerance)
    _write(Path(path), file)
    return check


def build_file(net: EarlyExitNet, about: About, extra: Mapping[str, str], dynamo: bool | None = None) -> bytes:
    """The bytes of the file for a frozen `net`, not yet compared with it; `dynamo` as in `convert`."""
    branches = [stage.exit for stage in net.architecture.stages if stage.exit is not None]
    parts = [
        without_gate(part, net.architecture.classes, f"exit{e}") if branch.gate else part
        for e, (part, branch) in enumerate(zip(cut(convert(net, dynamo).graph), branches))
    ]
    model = assemble(parts, about, OPSET, extra)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _checked_images(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    if images.dtype != torch.uint8 or images.ndim != 4 or tuple(images.shape[1:]) != shape or not len(images):
        found = f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
        raise ValueError(f"images is {found}; the check needs uint8 (N, {', '.join(map(str, shape))}) with N >= 1")
    return images.detach().cpu()


def _write(path: Path, file: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(file)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
