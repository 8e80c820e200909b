"""Run a network once over a split; everything about policies is then computed on the table."""

from __future__ import annotations

import torch

from offramp.data import Split
from offramp.nn import EarlyExitNet
from offramp.policy import ScoreTable
from offramp.training._fit import to_float
from offramp.training._gate_losses import split_gates


@torch.inference_mode()
def score(net: EarlyExitNet, split: Split, batch: int = 250) -> ScoreTable:
    """Every exit's logits (and gates) for every image of `split`; `net` is put in eval mode."""
    net.eval()
    said = torch.cat([net(to_float(chunk, net.mean.device)).float().cpu() for chunk in split.images.split(batch)])
    logits, gates = split_gates(said, net.architecture.classes)
    return ScoreTable(logits.numpy(), split.labels.numpy(), None if gates is None else gates.numpy())
