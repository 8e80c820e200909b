"""Batch norm as part of the convolution before it."""

from __future__ import annotations

from torch import nn

from offramp.nn.blocks import Unit


def fold(net: nn.Module) -> None:
    """Fold every batch norm inside `net`, by its running statistics, in place."""
    for unit in net.modules():
        if not isinstance(unit, Unit) or unit.norm is None:
            continue
        norm, conv = unit.norm, unit.conv
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        bias = -norm.running_mean if conv.bias is None else conv.bias - norm.running_mean
        conv.weight = nn.Parameter(conv.weight * scale.view(-1, 1, 1, 1))
        conv.bias = nn.Parameter(norm.bias + bias * scale)
        unit.norm = None
