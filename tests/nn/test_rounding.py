"""Rounding with steps of its own: by calibration, and learned."""

import pytest
import torch
import torch.nn.functional as F

from offramp.nn._steps import EVERY_BATCH, ONCE, activation_step, rounded
from offramp.nn.rounding import RoundedConv, RoundedLinear, Rounding


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


def test_the_gradient_of_a_step_is_scaled_by_the_values_of_a_sample_not_of_the_batch():
    """Else a step would learn more slowly in a larger batch, while all other gradients stay means over it."""
    gradients = []
    for batch in (1, 6):
        rounding = Rounding(3)
        rounding.step.data.fill_(0.2)
        rounding(torch.linspace(-1, 3, 40).repeat(batch, 1)).mean(0).sum().backward()
        gradients.append(float(rounding.step.grad))
    assert gradients[1] == pytest.approx(gradients[0], rel=1e-5)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize(
    ("layer", "shape"), [(RoundedConv(3, 4, 3, bias=False), (4, 3, 3, 3)), (RoundedLinear(6, 4, bias=False), (4, 6))]
)
def test_the_gradient_of_a_channels_step_is_that_of_learned_steps(bits, layer, shape):
    layer.bits, layer.sources = bits, ()
    layer.weight_step = torch.nn.Parameter(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    torch.nn.init.normal_(layer.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    layer.weight.grad = None
    layer.rounded()[0].sum().backward()
    half, per_channel = 2 ** (bits - 1), layer.weight[0].numel()
    for c, step in enumerate(layer.weight_step.tolist()):
        exact = (layer.weight[c].detach() / step).double()
        slope = torch.where(exact < -half, -half, torch.where(exact > half - 1, half - 1, exact.round() - exact))
        expected = slope.sum() * (per_channel * half) ** -0.5
        assert float(layer.weight_step.grad[c]) == pytest.approx(float(expected), rel=1e-4)
    assert layer.weight.shape == shape


def test_outside_the_range_no_gradient_passes_by_either_kernel():
    """A fixed step has a kernel of its own."""
    values = [-1.1, -0.9, 0.0, 0.4, 1.4, 1.6]
    for step in (torch.tensor(0.5), torch.full((6,), 0.5)):
        x = torch.tensor(values, requires_grad=True)
        rounded(x, step, -2, 3).sum().backward()
        assert x.grad.tolist() == [0, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("shape", [(64, 16, 8, 8), (64, 24, 16, 16), (256, 8, 32, 32), (128, 480, 2, 2)])
def test_a_step_suits_the_values_of_every_channel(shape):
    """Of a large map some values are read: with those of one channel alone, the others' would be cut off."""
    x = torch.full(shape, 0.01).contiguous(memory_format=torch.channels_last)
    x[:, 1:] = torch.rand(x[:, 1:].shape, generator=torch.Generator().manual_seed(0))
    for effort in (ONCE, EVERY_BATCH):
        step, zero = activation_step(x, 16, effort)
        assert float(step) > 0.9 / 15
        assert zero == 0


@pytest.mark.parametrize("levels", [4, 16, 256])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_no_step_near_by_has_a_smaller_error(levels, shift):
    """For the integers that it rounds to, the step is that of least squares."""
    x = torch.randn(4000, generator=torch.Generator().manual_seed(levels)).relu() - shift
    step, zero = activation_step(x, levels, ONCE)
    integers = (x / step).round().clamp(-zero, levels - 1 - zero)

    def error(of):
        return float((integers.double() * of - x.double()).square().sum())

    fitted = float((x.double() * integers.double()).sum() / integers.double().square().sum())
    assert error(fitted) <= error(float(step)) <= error(fitted) * 1.02
    assert error(float(step)) <= min(error(float(step) * (1 + by)) for by in (-0.03, 0.03))


def test_means_of_rounded_values_do_not_lie_midway_between_two_steps():
    """There, runtimes that add in different orders round to different ones."""
    step, integers = 0.0534, torch.randint(0, 141, (2000, 1, 2, 2), generator=torch.Generator().manual_seed(0))
    integers[0] = 140  # the largest mean is 560 / 4 steps: a 255th of that makes every 56th sum a tie
    means = F.avg_pool2d(integers * step, 2)
    found, _ = activation_step(means, 256, ONCE)
    behind = means.double() / found.double() % 1
    assert ((behind - 0.5).abs() < 1e-5).sum() == 0
