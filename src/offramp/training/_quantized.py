"""Quantization-aware training: a quantized network learns to say at few bits what it said in float."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from offramp.architecture import Precision
from offramp.nn import EarlyExitNet
from offramp.nn.quantize import is_quantized, quantize
from offramp.progress import Tracker
from offramp.training._exits import all_exits, independent
from offramp.training._fit import Images, fit
from offramp.training.settings import TrainSettings


def quantized_checkpoint(path: Path, precision: Precision) -> Path:
    """Where this phase keeps its checkpoint, beside that of the float phases at `path`, which precisions share."""
    return path.with_name(".".join([path.name, *map(str, precision.model_dump().values())]))


def quantized(
    net: EarlyExitNet,
    images: Tensor,
    data: Images,
    settings: TrainSettings,
    *,
    seed: int,
    identity: str,
    checkpoint: Path | None,
    track: Tracker,
) -> EarlyExitNet:
    """`net`, trained in float, at the precision of its architecture; `net` itself where that is float. In eval mode.

    Calibrated on `images` (uint8, N x C x H x W), then trained by SGD for `settings.quantized_epochs` to imitate
    `net`, exit by exit: the labels themselves, without batch norm, pull a small network away from what it had learned.
    The other arguments, `checkpoint` included, are those of the float phases' `fit`.
    """
    if not is_quantized(net.architecture.precision):
        return net.eval()
    teacher, net = net.eval(), quantize(net, images)

    def loss(images: Tensor, _labels: Tensor) -> Tensor:
        with torch.no_grad():
            target = teacher(images)
        return likeness(
            all_exits(net, images, settings.exit_gradient), target, net.architecture.classes, settings.temperature
        )

    if settings.quantized_epochs:
        # Muon's steps are as long as its rate says, however small the gradient: at the rate of the float phases they
        # undo a trained network.
        slower = settings.model_copy(update={"lr": settings.quantized_lr, "optimiser": "sgd"})
        precision = net.architecture.precision.model_dump()
        of_this = [precision, settings.quantized_epochs, settings.quantized_lr]
        fit(
            net.train(), lambda _epoch, _step: loss, data, slower, settings.quantized_epochs,
            seed=seed, identity=f"{identity}, quantized by SGD: {of_this}",
            checkpoint=None if checkpoint is None else quantized_checkpoint(checkpoint, net.architecture.precision),
            track=track,
            clipped=independent(net, settings.exit_gradient),
        )  # fmt: skip
    return net.eval()


def likeness(outputs: Tensor, target: Tensor, classes: int, temperature: float) -> Tensor:
    """T^2 KL(target || outputs), both softened by T, summed over exits; gates by their cross-entropy.

    (B, E, K) or (B, E, K + 1) each, K = `classes`; -> ().
    """
    student, teacher = ((x[..., :classes] / temperature).log_softmax(-1) for x in (outputs, target))
    loss = temperature**2 * F.kl_div(student, teacher, reduction="sum", log_target=True) / len(outputs)
    if outputs.shape[-1] > classes:
        sure = target[..., classes].sigmoid()
        loss = loss + F.binary_cross_entropy_with_logits(outputs[..., classes], sure, reduction="sum") / len(outputs)
    return loss
