"""Batch-norm statistics of a finished network."""

from __future__ import annotations

import torch
from torch import Tensor

from offramp.nn import EarlyExitNet
from offramp.nn.blocks import batch_norms
from offramp.training._fit import to_float


@torch.no_grad()
def reestimate(net: EarlyExitNet, images: Tensor, batch: int = 250) -> None:
    """Replace the running statistics of `net` by their mean over `images` (uint8, N x C x H x W); leaves it in eval mode."""
    norms = batch_norms(net)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    net.train()
    for chunk in images.split(batch):
        if len(chunk) > 1:
            net(to_float(chunk, net.mean.device))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    net.eval()
