from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from offramp.training._optimiser import KernelMuon, Optimiser, sgd
from offramp.training.settings import OptimiserSettings


def test_weights_decay_and_biases_do_not():
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    optimiser = sgd(list(module.parameters()), OptimiserSettings(weight_decay=0.125))
    found = {p.ndim: group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert found == {4: 0.125, 1: 0.0}


def network() -> nn.Sequential:
    """A full, a depthwise and a pointwise convolution, a norm, and a classifier."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8), nn.Conv2d(8, 6, 1), nn.Linear(6, 2)
    )


def test_muon_steps_the_kernels_that_mix_channels_and_sgd_all_else():
    net = network()
    kernels = [net[0].weight, net[3].weight]
    sgd_part, muon_part = Optimiser(list(net.parameters()), OptimiserSettings(optimiser="muon"), 10).parts
    matrices = [p for group in muon_part.param_groups for p in group["params"]]
    assert [m.data_ptr() for m in matrices] == [k.data_ptr() for k in kernels]
    stepped = {id(p) for group in sgd_part.param_groups for p in group["params"]}
    assert stepped == {id(p) for p in net.parameters()} - {id(k) for k in kernels}
    assert len(Optimiser(list(net.parameters()), OptimiserSettings(), 10).parts) == 1


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_moves_as_its_matrix_does_under_torchs_own_muon(layout):
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(8, 4, 3, 3).to(memory_format=layout))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    ours = KernelMuon([kernel], 0.1, 0.5)
    theirs = torch.optim.Muon([matrix], 0.1, 0.5)
    for _ in range(3):
        gradient = torch.randn(8, 4, 3, 3)
        kernel.grad, matrix.grad = gradient, gradient.flatten(1)
        ours.step()
        theirs.step()
    # Newton-Schulz runs in bfloat16, and the order of a matrix's columns changes its rounding.
    torch.testing.assert_close(kernel.detach().flatten(1), matrix.detach(), atol=4e-3, rtol=0)


def test_a_kernel_without_a_gradient_stays():
    kernels = [nn.Parameter(torch.ones(4, 4, 1, 1)), nn.Parameter(torch.ones(4, 4, 1, 1))]
    optimiser = KernelMuon(kernels, 0.1, 0.5)
    kernels[0].grad = torch.randn(4, 4, 1, 1)
    optimiser.step()
    assert not torch.equal(kernels[0], torch.ones(4, 4, 1, 1))
    assert torch.equal(kernels[1], torch.ones(4, 4, 1, 1))
    kernels[0].grad = None
    before = kernels[0].detach().clone()
    optimiser.step()
    assert torch.equal(kernels[0], before)


def test_both_parts_follow_the_schedule_to_their_own_peaks():
    net = network()
    optimiser = Optimiser(
        list(net.parameters()), OptimiserSettings(optimiser="muon", lr=0.5, muon_lr=0.125, warmup=0.5), 20
    )
    rates: list[list[float]] = []
    for _ in range(20):
        rates.append([part.param_groups[0]["lr"] for part in optimiser.parts])
        optimiser.step()
    peaks = [max(column) for column in zip(*rates)]
    assert peaks == pytest.approx([0.5, 0.125])
    assert all(rate[0] == pytest.approx(4 * rate[1]) for rate in rates)


def test_a_restored_optimiser_goes_on_as_the_first_would():
    def stepped(net: nn.Module, optimiser: Optimiser, seeds: range) -> list[Tensor]:
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            for parameter in net.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimiser.step()
        return [p.detach().clone() for p in net.parameters()]

    settings = OptimiserSettings(optimiser="muon")
    torch.manual_seed(1)
    one = network()
    first = Optimiser(list(one.parameters()), settings, 10)
    stepped(one, first, range(4))
    other = network()
    other.load_state_dict(one.state_dict())
    second = Optimiser(list(other.parameters()), settings, 10)
    second.load_state_dict(deepcopy(first.state_dict()))
    whole, again = stepped(one, first, range(4, 8)), stepped(other, second, range(4, 8))
    assert all(torch.equal(a, b) for a, b in zip(whole, again))
