"""Run a network once over a split; everything about policies is then computed on the table."""

from __future__ import annotations

import torch

from offramp.data import Split
from offramp.nn import EarlyExitNet
from offramp.policy import ScoreTable
from offramp.training._fit import to_float


@torch.inference_mode()
def score(net: EarlyExitNet, split: Split, batch: int = 250) -> ScoreTable:
    """Every exit's logits for every image of `split`; `net` is put in eval mode."""
    net.eval()
    logits = [net(to_float(chunk, net.mean.device)).float().cpu() for chunk in split.images.split(batch)]
    return ScoreTable(torch.cat(logits).numpy(), split.labels.numpy())
