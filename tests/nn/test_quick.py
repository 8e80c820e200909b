"""Rounding with the steps that suit a batch."""

import pytest
import torch

from offramp.nn._quick import QuickConv, QuickRounding


@pytest.mark.parametrize("count", [8, 4, 2])
def test_a_kernel_rounds_to_the_same_integers_before_as_after_folding(count):
    generator = torch.Generator().manual_seed(count)
    conv = QuickConv(6, 5, 3, 1, padding=1, groups=1)
    conv.weight = torch.nn.Parameter(torch.randn(5, 6, 3, 3, generator=generator))
    conv.bias, conv.bits = None, count
    scale = torch.rand(5, 1, 1, 1, generator=generator) + 0.25
    unit = torch.eye(6).view(6, 6, 1, 1)  # an image with a 1 in one channel reads that channel's kernel
    kernels = conv(unit).detach()
    assert all(len(row.unique()) <= 2**count for row in kernels.transpose(0, 1))
    with torch.no_grad():
        conv.weight *= scale
    torch.testing.assert_close(conv(unit), kernels * scale.view(1, 5, 1, 1))


def test_quick_rounding_suits_the_batch_and_passes_gradients():
    x = torch.linspace(-1, 3, 200)[:, None].requires_grad_()
    rounded = QuickRounding(4)(x)
    assert 8 < len(rounded.unique()) <= 16
    assert 0 in rounded
    assert (rounded - x).abs().max() < 0.2  # the step is 4 / 15
    torch.testing.assert_close(QuickRounding(4)(x * 10), rounded * 10)  # no range is kept from batch to batch
    rounded.sum().backward()
    inside = (x >= rounded.min()) & (x <= rounded.max())
    assert torch.equal(x.grad[inside], torch.ones(int(inside.sum())))
