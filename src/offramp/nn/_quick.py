"""Layers that round without steps of their own, as slices of a supernet do: there they suit the batch, each anew."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from offramp.nn._steps import EVERY_BATCH, activation_step, channel_steps, rounded, rounded_weight
from offramp.nn.blocks import _Conv2d, _Linear


class QuickRounding(nn.Module):
    """As `offramp.nn.rounding.Rounding`, with the step and zero that suit the batch."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.levels = 2**bits

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, the first dimension the batch."""
        with torch.no_grad():
            step, zero = activation_step(x, self.levels, EVERY_BATCH)
        return rounded(x, step, -zero, self.levels - 1 - zero)


class QuickConv(_Conv2d):
    """A convolution whose weights are rounded with the steps that suit them now."""

    bits: int

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        return self._conv_forward(x, _quick(self.weight, self.bits), self.bias)


class QuickLinear(_Linear):
    """A linear layer whose weights are rounded with the steps that suit them now."""

    bits: int

    def forward(self, x: Tensor) -> Tensor:
        """(B, F) -> (B, F')."""
        return F.linear(x, _quick(self.weight, self.bits), self.bias)


def _quick(weight: Tensor, bits: int) -> Tensor:
    with torch.no_grad():
        steps = channel_steps(weight, bits, EVERY_BATCH)
    return rounded_weight(weight, steps, bits)
