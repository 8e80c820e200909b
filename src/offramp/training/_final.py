"""Training of a chosen network: backbone first, then all exits jointly with self-distillation."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from offramp.architecture import Architecture
from offramp.nn import EarlyExitNet, Supernet, build
from offramp.nn.blocks import batch_norms
from offramp.progress import Silent, Tracker
from offramp.training._exits import all_exits, independent
from offramp.training._fit import Images, Loss, fit, pick_device
from offramp.training._gate_losses import gate_loss, gated_exits, split_gates
from offramp.training._losses import cross_entropy, self_distillation
from offramp.training._quantized import quantized
from offramp.training._statistics import reestimate
from offramp.training.settings import TrainSettings

_STATISTICS_IMAGES = 5000


def train(
    architecture: Architecture,
    data: Images,
    settings: TrainSettings,
    *,
    supernet: Supernet | None = None,
    seed: int = 0,
    identity: str = "",
    checkpoint: Path | None = None,
    track: Tracker | None = None,
) -> EarlyExitNet:
    """`architecture` trained on `data.train` in the mixed regime, its batch-norm statistics estimated at the end.

    Gates, where there are some, learn beside by `confidence_loss` (`train_gated` is NACHOS's own training). Where the
    network has few bits it is trained in float, then quantized (`offramp.nn.quantize`) and trained on as that.

    Starts from the weights of `supernet`, or from scratch where that is None; continues from `checkpoint`.

    Raises:
        CheckpointError: `checkpoint` was written for another `identity`.
    """
    net, gated = begin(architecture, data, supernet, seed), gated_exits(architecture)

    def joint(images: Tensor, labels: Tensor) -> Tensor:
        logits, gates = split_gates(all_exits(net, images, settings.exit_gradient), architecture.classes)
        distilled = self_distillation(logits, labels, settings.distill, settings.temperature, settings.final_weight)
        return distilled + gate_loss(logits, gates, labels, gated)

    def backbone(images: Tensor, labels: Tensor) -> Tensor:
        return final_loss(net, images, labels)

    def loss_of(epoch: int, _step: int) -> Loss:
        return backbone if epoch < settings.backbone_epochs else joint

    fit(
        net, loss_of, data, settings, settings.epochs,
        seed=seed, identity=identity, checkpoint=checkpoint, track=track or Silent(),
        clipped=independent(net, settings.exit_gradient),
    )  # fmt: skip
    return quantized(
        net, end(net, data, seed), data, settings,
        seed=seed, identity=identity, checkpoint=checkpoint, track=track or Silent(),
    )  # fmt: skip


def begin(architecture: Architecture, data: Images, supernet: Supernet | None, seed: int) -> EarlyExitNet:
    """The network to train, in training mode: a slice of `supernet`, or fresh; normalised for `data`."""
    net = build(architecture, seed) if supernet is None else supernet.slice(architecture)
    net = net.to(pick_device()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.normalise(data.mean, data.std)
    net.train()
    for norm in batch_norms(net):
        norm.momentum = 0.0  # threads share the module; the statistics are estimated at the end
    return net


def final_loss(net: EarlyExitNet, images: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the final exit alone: (B, C, H, W), (B,) -> ()."""
    # Only what the final exit needs is run: zero gradients would still let the branches decay.
    head = net.ordered[-1].exit
    assert head is not None
    return cross_entropy(head(net.features(images)[-1])[:, None], labels).sum()


def end(net: EarlyExitNet, data: Images, seed: int) -> Tensor:
    """Estimate batch-norm statistics on some images of train, which it gives: uint8 (N, C, H, W); leaves eval mode."""
    for norm in batch_norms(net):
        norm.momentum = 0.1
    images = some_images(data, seed)
    reestimate(net, images)
    return images


def some_images(data: Images, seed: int) -> Tensor:
    """Some thousands of train, for statistics and steps: uint8 (N, C, H, W)."""
    # Drawn at random: a folder's images come class by class.
    drawn = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))[:_STATISTICS_IMAGES]
    return data.train.images[drawn]
