"""Training of a chosen network: backbone first, then all exits jointly with self-distillation."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from offramp.architecture import Architecture
from offramp.nn import EarlyExitNet, Supernet, build
from offramp.nn.blocks import batch_norms
from offramp.progress import Silent, Tracker
from offramp.training._fit import Images, Loss, fit, pick_device
from offramp.training._losses import cross_entropy, self_distillation
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

    Starts from the weights of `supernet`, or from scratch where that is None; continues from `checkpoint`.

    Raises:
        CheckpointError: `checkpoint` was written for another `identity`.
    """
    net = build(architecture, seed) if supernet is None else supernet.slice(architecture)
    net = net.to(pick_device()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.normalise(data.mean, data.std)
    net.train()
    for norm in batch_norms(net):
        norm.momentum = 0.0  # threads share the module; the statistics are estimated at the end

    def joint(images: Tensor, labels: Tensor) -> Tensor:
        return self_distillation(net(images), labels, settings.distill, settings.temperature, settings.final_weight)

    def backbone(images: Tensor, labels: Tensor) -> Tensor:
        # Only what the final exit needs is run: zero gradients would still let the branches decay.
        return cross_entropy(net.stages[-1].exit(net.features(images)[-1])[:, None], labels).sum()

    def loss_of(epoch: int, _step: int) -> Loss:
        return backbone if epoch < settings.backbone_epochs else joint

    fit(
        net, loss_of, data, settings, settings.epochs,
        seed=seed, identity=identity, checkpoint=checkpoint, track=track or Silent(),
    )  # fmt: skip
    for norm in batch_norms(net):
        norm.momentum = 0.1
    # Drawn at random: a folder's images come class by class.
    drawn = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))[:_STATISTICS_IMAGES]
    reestimate(net, data.train.images[drawn])
    return net
