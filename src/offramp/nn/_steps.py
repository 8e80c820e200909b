"""Steps: numbers rounded to multiples of one, and the step of least squared error for given numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Any, NamedTuple

import torch
from torch import Tensor

SMALLEST_STEP = 1e-7
_CHANNEL_STEP = 1e-3  # least step of a channel's weights, relative to the layer's largest: keeps biases within int32


class Effort(NamedTuple):
    """How thoroughly a step is looked for: the parts of the range that are tried, how many activations are read, and
    how often the best is moved to least squares."""

    shrinks: Sequence[float]
    samples: int
    turns: int


_SHRINKS = torch.logspace(0, -2, 24, base=5.0).tolist()  # 1 to 1/25
ONCE = Effort(_SHRINKS, 1 << 15, 4)
EVERY_BATCH = Effort(_SHRINKS[:12:3], 1 << 11, 0)  # 1 to 1/4; never exported


def activation_step(x: Tensor, levels: int, effort: Effort) -> tuple[Tensor, Tensor]:
    """Step and zero of least squared error on `x`, of any shape, by some of its values: (), ()."""
    # In the order in which they lie in memory: in any other, all of them would be copied.
    channels_last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    ordered = x.permute(0, 2, 3, 1) if channels_last else x
    values = ordered.flatten()
    least, most = values.aminmax()
    low, high = least.clamp_max(0), most.clamp_min(0)
    sample = values[:: _stride(len(values), effort.samples, ordered.shape[-1])]
    tried = torch.tensor(effort.shrinks, device=x.device)[:, None]
    steps = ((high - low) * tried / (levels - 1)).clamp_min(SMALLEST_STEP)
    zeros = (-low * tried / steps).round()
    best = (rounded(sample, steps, -zeros, levels - 1 - zeros) - sample).square().sum(1).argmin()
    return _refined(sample, steps[best, 0], zeros[best, 0], levels, effort.turns), zeros[best, 0]


def _refined(x: Tensor, step: Tensor, zero: Tensor, levels: int, turns: int) -> Tensor:
    """`step` moved to where the squared error on `x` is least: in turns the integers, and their step of least squares.

    Behind a mean it matters twice. There the range is a whole number of quarters (for four values) of the step before,
    and a step that is a fraction of the range puts many means midway between two of its multiples, where every runtime
    rounds as its own order of addition has it.
    """
    for _ in range(turns):
        integers = (x / step).round().clamp(-zero, levels - 1 - zero)
        weight = integers.square().sum()
        step = torch.where(weight > 0, (x * integers).sum() / weight, step).clamp_min(SMALLEST_STEP)
    return step


def _stride(count: int, samples: int, row: int) -> int:
    """How far apart the values lie that are read: coprime to a row's length, or only some channels would be."""
    stride = -(-count // samples)
    while gcd(stride, row) > 1:
        stride += 1
    return stride


def channel_steps(weight: Tensor, bits: int, effort: Effort) -> Tensor:
    """Each output channel's step of least squared error: (C, ...) -> (C,)."""
    rows, half = weight.flatten(1), 2 ** (bits - 1)
    widest = rows.abs().amax(1, keepdim=True) / (half - 1)
    widest = widest.clamp_min(_CHANNEL_STEP * widest.max()).clamp_min(SMALLEST_STEP)
    tried = [widest * shrink for shrink in effort.shrinks]
    errors = [(rounded(rows, step, -half, half - 1) - rows).square().sum(1, keepdim=True) for step in tried]
    return torch.cat(tried, 1).gather(1, torch.cat(errors, 1).argmin(1, keepdim=True))[:, 0]


def rounded_weight(weight: Tensor, steps: Tensor, bits: int, factor: float = 1.0) -> Tensor:
    """(C, ...), with a step per channel (C,), on the integers -2^(bits - 1) to 2^(bits - 1) - 1."""
    half = 2 ** (bits - 1)
    return rounded(weight, steps.view([-1] + [1] * (weight.ndim - 1)), -half, half - 1, factor)


def rounded(x: Tensor, step: Tensor, low: Tensor | float, high: Tensor | float, factor: float = 1.0) -> Tensor:
    """The multiple of `step` next to `x`, by an integer within [low, high]; `factor` scales the gradient of `step`.

    `step`, `low` and `high` broadcast against `x`, which may gain dimensions.
    """
    return _Round.apply(x, step, low, high, factor)


class _Round(torch.autograd.Function):
    """round(x / step) within [low, high], times step; half to even and by true division, as in ONNX."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, low: Tensor | float, high: Tensor | float, factor: float) -> Tensor:
        ctx.save_for_backward(x, step)
        ctx.limits, ctx.factor = (low, high), factor
        return (x / step).round_().clamp_(low, high).mul_(step)  # type: ignore[arg-type]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        x, step = ctx.saved_tensors
        low, high = ctx.limits
        if step.numel() == 1 and not ctx.needs_input_grad[1]:
            # A fused kernel: a map is read once in place of five times.
            bounds = (float(low * step), float(high * step))
            return torch.ops.aten.hardtanh_backward(gradient, x, *bounds), None, None, None, None
        exact = x / step
        inside = (exact >= low) & (exact <= high)
        if not ctx.needs_input_grad[1]:
            return gradient * inside, None, None, None, None
        error = exact.round().clamp_(low, high).sub_(exact * inside)
        # Scaled so that a step moves about as fast, relative to its size, as the weights do.
        of_step = (gradient * error).sum_to_size(step.shape) * ctx.factor
        return gradient * inside, of_step, None, None, None
