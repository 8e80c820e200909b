"""Layers that round with steps of their own: set by calibration, then learned.

The steps are parameters (LSQ, arXiv 1902.08153): their gradients add up over the threads that share a module, where the
running ranges of an observer would race.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from offramp.nn._steps import ONCE, SMALLEST_STEP, activation_step, channel_steps, rounded, rounded_weight
from offramp.nn.blocks import _Conv2d, _Linear


def positive(step: Tensor) -> Tensor:
    """A learned step as it is used."""
    return step.abs().clamp_min(SMALLEST_STEP)


class Rounding(nn.Module):
    """Rounds activations to `bits`: (integer in 0..2^bits - 1, less `zero`) * `step`; 0 is among the values.

    `step` is learned; `zero`, an integer, is set by calibration and 0 where nothing is negative.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.levels = 2**bits
        self.step = nn.Parameter(torch.ones(()))
        self.register_buffer("zero", torch.zeros(()))
        self.zero: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, the first dimension the batch."""
        factor = (x.numel() / max(1, len(x)) * self.levels) ** -0.5
        return rounded(x, positive(self.step), -self.zero, self.levels - 1 - self.zero, factor)

    def calibrate(self, x: Tensor) -> None:
        """Set step and zero for the least squared error on `x`."""
        step, zero = activation_step(x, self.levels, ONCE)
        self.step.copy_(step)
        self.zero.copy_(zero)


class RoundedLayer:
    """What convolution and linear layer have in common: weights on `bits` bits, symmetric, a step per output channel.

    The integers are -2^(bits - 1) to 2^(bits - 1) - 1. Where the input's step is known, the bias is a multiple of both
    steps' product, as in integer arithmetic.
    """

    weight: Any  # the parameters of the torch class beside this one
    bias: Any
    weight_step: nn.Parameter
    bits: int
    sources: tuple[Rounding, ...]  # that of the input, or none; a tuple, so that torch does not take it for a submodule

    def rounded(self) -> tuple[Tensor, Tensor | None]:
        """Weights and bias as they are used."""
        step = positive(self.weight_step)
        factor = (self.weight[0].numel() * 2 ** (self.bits - 1)) ** -0.5
        weight = rounded_weight(self.weight, step, self.bits, factor)
        if self.bias is None or not self.sources:
            return weight, self.bias
        unit = (step * positive(self.sources[0].step)).detach()
        multiple = (self.bias.detach() / unit).round() * unit
        return weight, self.bias + (multiple - self.bias.detach())

    def calibrate(self) -> None:
        """Set each channel's step for the least squared error of its weights."""
        self.weight_step.copy_(channel_steps(self.weight, self.bits, ONCE))


class RoundedConv(RoundedLayer, _Conv2d):
    """A convolution with rounded weights."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        return self._conv_forward(x, *self.rounded())


class RoundedLinear(RoundedLayer, _Linear):
    """A linear layer with rounded weights."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, F) -> (B, F')."""
        return F.linear(x, *self.rounded())
