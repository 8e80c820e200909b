"""How much of what early exits ask for reaches the backbone."""

import pytest
import torch

from offramp.architecture import Precision
from offramp.nn import build
from offramp.training import TrainSettings, train
from offramp.training._exits import all_exits
from offramp.training._losses import cross_entropy


@pytest.fixture
def gradients(digits, two_exits):
    """share -> name of a parameter -> its gradient under the sum of both exits' losses; None: of the final one's."""
    net = build(two_exits, 0)
    net.normalise(digits.mean, digits.std)
    images, labels = digits.train.images[:32].float(), digits.train.labels[:32]

    def of(share):
        net.zero_grad()
        losses = cross_entropy(all_exits(net, images, 1.0 if share is None else share), labels)
        (losses[-1] if share is None else losses.sum()).backward()
        return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}

    return of


def early(name):
    return name.startswith("stages.0.exit.")


def test_the_backbone_learns_from_a_share_of_the_early_exits_gradient(gradients):
    none, half, whole, final = (gradients(share) for share in (0.0, 0.5, 1.0, None))
    for name in whole:
        if early(name):  # a branch learns in full whatever it hands back
            torch.testing.assert_close(none[name], whole[name])
            torch.testing.assert_close(half[name], whole[name])
        else:
            torch.testing.assert_close(none[name], final[name])
            torch.testing.assert_close(half[name], (none[name] + whole[name]) / 2)
    first = next(name for name in whole if name.startswith("stages.0.blocks"))
    assert not torch.allclose(none[first], whole[first])


def test_what_is_said_is_the_same(digits, two_exits):
    net, images = build(two_exits, 0).eval(), digits.train.images[:8].float()
    for share in (0.0, 0.5, 1.0):
        assert torch.equal(all_exits(net, images, share), net(images))


@pytest.mark.parametrize("bits", [32, 8])
def test_training_hands_the_share_on(digits, two_exits, bits):
    precision = Precision(
        backbone_weights=bits, backbone_activations=bits, branch_weights=bits, branch_activations=bits
    )

    def trained(share, **settings):
        found = TrainSettings(backbone_epochs=0, joint_epochs=1, batch=64, exit_gradient=share, **settings)
        return train(two_exits.model_copy(update={"precision": precision}), digits, found).state_dict()

    # In the quantized epochs alone where there are some: the float ones have no rate to speak of.
    slow = {"lr": 1e-12, "quantized_epochs": 1, "quantized_lr": 0.1} if bits == 8 else {}
    none, whole = trained(0.0, **slow), trained(1.0, **slow)
    name = next(name for name in none if name.endswith("conv.weight") and not early(name))
    assert not torch.equal(none[name], whole[name])


@pytest.mark.parametrize("bits", [32, 8])
def test_without_a_share_nothing_of_the_branches_reaches_the_backbone(digits, two_exits, bits):
    """Not through the norm of the gradient either, by which all of it is clipped."""
    precision = Precision(
        backbone_weights=bits, backbone_activations=bits, branch_weights=bits, branch_activations=bits
    )

    def trained(share, distill):
        found = TrainSettings(
            backbone_epochs=0, joint_epochs=1, batch=64, clip=0.1, exit_gradient=share, distill=distill
        )
        return train(two_exits.model_copy(update={"precision": precision}), digits, found).state_dict()

    for share in (0.0, 0.01):
        one, other = trained(share, 0.0), trained(share, 0.9)
        same = {name for name in one if torch.equal(one[name], other[name])}
        rest = {name for name in one if not early(name)}
        assert (rest <= same) == (share == 0)
        assert not {name for name in one if early(name)} <= same
