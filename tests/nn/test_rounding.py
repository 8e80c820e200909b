"""Rounding with steps of its own: by calibration, and learned."""

import pytest
import torch

from offramp.nn._steps import EVERY_BATCH, ONCE, activation_step
from offramp.nn.rounding import Rounding


def test_activations_take_the_levels_of_their_bits_and_0_is_one():
    rounding, x = Rounding(4), torch.randn(2, 500)
    with torch.no_grad():
        rounding.calibrate(x)
        y = rounding(torch.cat([x, torch.zeros(2, 1)], 1))
    assert len(y.unique()) <= 16
    assert (y[:, -1] == 0).all()
    assert (y[:, :-1] - x).abs().mean() < 0.2


def test_the_gradient_is_that_of_learned_steps():
    rounding = Rounding(2)
    rounding.step.data.fill_(0.5)
    x = torch.tensor([[0.6, 5.0, -1.0]], requires_grad=True)
    rounding(x).sum().backward()
    assert x.grad.tolist() == [[1.0, 0.0, 0.0]]  # outside the range nothing passes
    expected = ((1 - 1.2) + 3 + 0) * (3 * 4) ** -0.5
    assert float(rounding.step.grad) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(64, 16, 8, 8), (64, 24, 16, 16), (256, 8, 32, 32), (128, 480, 2, 2)])
def test_a_step_suits_the_values_of_every_channel(shape):
    """Of a large map some values are read: with those of one channel alone, the others' would be cut off."""
    x = torch.full(shape, 0.01).contiguous(memory_format=torch.channels_last)
    x[:, 1:] = torch.rand(x[:, 1:].shape, generator=torch.Generator().manual_seed(0))
    for effort in (ONCE, EVERY_BATCH):
        step, zero = activation_step(x, 16, effort)
        assert float(step) > 0.9 / 15
        assert zero == 0
