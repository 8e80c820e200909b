"""Batch-norm statistics of a finished network."""

from __future__ import annotations

import torch
from torch import Tensor

from offramp.nn import EarlyExitNet
from offramp.nn.blocks import batch_norms
from offramp.training._fit import to_float


@torch.no_grad()
def reestimate(net: EarlyExitNet, images: Tensor, batch: int = 250) -> None:
    """Replace the running statistics of `net` by their mean over `images` (uint8, N x C x H x W); leaves it in eval
    mode.

    The mean is over batches of (nearly) equal size, `batch` at most; each should hold images of every class.

    Raises:
        ValueError: fewer than two images.
    """
    if len(images) < 2:
        raise ValueError(f"images has {len(images)}; statistics need at least 2")
    norms = batch_norms(net)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    net.train()
    for chunk in images.tensor_split(-(-len(images) // batch)):
        net(to_float(chunk, net.mean.device))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    net.eval()
