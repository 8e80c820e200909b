"""Networks of few bits: what is rounded, what can be learned, and that digits are still told apart."""

import pytest
import torch
from tiny_networks import SPACE, images, lively, three_exits

from offramp.architecture import Architecture, Branch, Conv, Precision, Separable, Stage
from offramp.data import task
from offramp.deliver import keep_exits
from offramp.nn import Supernet
from offramp.nn.quantize import quantize, rounds, skeleton
from offramp.nn.rounding import RoundedLayer, Rounding, positive
from offramp.policy import Policy
from offramp.spaces import space
from offramp.training import TrainSettings, reestimate, score, train


def bits(backbone, branch=None):
    branch = branch or backbone
    return Precision(
        backbone_weights=backbone, backbone_activations=backbone, branch_weights=branch, branch_activations=branch
    )


def quantized(precision):
    net = lively(three_exits())
    net.architecture = net.architecture.model_copy(update={"precision": precision})
    return quantize(net, images(64, (2, 9, 7)).byte())


@pytest.mark.parametrize("count", [8, 4, 2])
def test_weights_take_the_levels_of_their_bits(count):
    found = set()
    for layer in (m for m in quantized(bits(count)).modules() if isinstance(m, RoundedLayer)):
        step = positive(layer.weight_step).view([-1] + [1] * (layer.weight.ndim - 1))
        levels = layer.rounded()[0] / step
        torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)
        assert all(len(row.round().unique()) <= 2**count for row in levels)
        found |= set(levels.round().int().flatten().tolist())
    assert min(found) >= -(2 ** (count - 1))
    assert max(found) <= 2 ** (count - 1) - 1
    assert len(found) == 2**count if count < 8 else len(found) > 0.8 * 2**count  # 8 bits have more levels than weights


def test_8_bits_are_near_float_and_4_bits_are_not_8():
    net, x = lively(three_exits()), images(64, (2, 9, 7))
    with torch.no_grad():
        plain, eight, four = net(x), quantized(bits(8))(x), quantized(bits(4))(x)
    near, far = (eight - plain).abs().mean(), (four - plain).abs().mean()
    assert near < 0.05 * plain.std()
    assert far > 3 * near


def test_biases_make_up_for_the_shift_of_the_means():
    """Without that, the mean of a logit is up to 0.29 of its deviation away."""
    net, x = lively(three_exits()), images(64, (2, 9, 7)).byte().float()
    with torch.no_grad():
        plain, eight = net(x), quantized(bits(8))(x)
    shift = (eight.mean(0) - plain.mean(0)) / plain.std(0)
    assert shift.abs().max() < 0.05


def test_gradients_pass_the_rounding_to_weights_and_steps():
    net = quantized(bits(4)).train()
    net(images(16, (2, 9, 7))).square().sum().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not without
    assert all(p.grad.abs().sum() > 0 for name, p in net.named_parameters() if name.endswith("conv.weight"))


def test_state_goes_through_a_dictionary_and_exits_can_be_dropped():
    net, x = quantized(bits(8, 4)), images(5, (2, 9, 7))
    again = skeleton(net.architecture).eval()
    again.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert torch.equal(again(x), net(x))
        torch.testing.assert_close(keep_exits(net, [0, 1])(x), net(x)[:, :2])
    logits, taken = net.infer(x, Policy("margin", (float("inf"),) * 2))
    assert taken.tolist() == [2] * 5
    torch.testing.assert_close(logits, net(x)[:, 2])


def test_branches_have_bits_of_their_own():
    net = quantized(bits(8, 4))
    found = {m.levels for stage in net.ordered for m in stage.blocks.modules() if isinstance(m, Rounding)}
    assert found == {256}
    found = {m.levels for stage in net.ordered if stage.exit for m in stage.exit.modules() if isinstance(m, Rounding)}
    assert found == {16}


def test_float_stays_as_it_is_and_mistakes_are_named():
    net, some = lively(three_exits()), images(4, (2, 9, 7)).byte()
    assert quantize(net, some) is net
    assert not rounds(net)
    with pytest.raises(ValueError, match="quantized already"):
        quantize(quantized(bits(8)), some)
    with pytest.raises(ValueError, match="16 bits"):
        quantized(bits(16))
    net.architecture = net.architecture.model_copy(update={"precision": bits(8)})
    with pytest.raises(ValueError, match="images has none"):
        quantize(net, some[:0])


def test_training_at_few_bits_tells_digits_apart(tmp_path):
    digits, settings = (
        task("digits", seed=0).without_test(),
        TrainSettings(backbone_epochs=0, joint_epochs=8, batch=32, quantized_epochs=2),
    )
    stages = (Stage(blocks=(Conv(out=8),), exit=Branch()), Stage(blocks=(Separable(out=16),), exit=Branch(grid=2)))
    plain = Architecture(input=(1, 8, 8), classes=10, stages=stages)
    accuracy = {}
    for count in (32, 8, 4):
        architecture = plain.model_copy(update={"precision": bits(count)})
        net = train(architecture, digits, settings, checkpoint=tmp_path / f"checkpoint{count}", identity="test")
        assert rounds(net) == (count < 32)
        assert not net.training
        accuracy[count] = score(net, digits.select).exit_accuracy[-1]
    assert accuracy[32] > 0.8
    assert abs(accuracy[8] - accuracy[32]) <= 0.01
    assert accuracy[4] > accuracy[32] - 0.08
    again = train(architecture, digits, settings, checkpoint=tmp_path / "checkpoint4", identity="test")  # all done
    assert score(again, digits.select).exit_accuracy[-1] == accuracy[4]


def test_a_slice_of_a_supernet_takes_any_bits():
    found = space("offramp", (2, 9, 7), 4, **SPACE)
    supernet, some = Supernet(found), images(64, (2, 9, 7)).byte()
    for count in (8, 4):
        architecture = found.largest().model_copy(update={"precision": bits(count)})
        net = supernet.slice(architecture)
        reestimate(net, some)
        few = quantize(net, some)
        assert few(some.float()).shape == (64, len(architecture.exits), 4)
        assert {m.levels for m in few.modules() if isinstance(m, Rounding)} == {2**count, 256}


def test_the_supernet_computes_at_the_bits_of_its_slice_and_learns_in_float():
    found = space("offramp", (3, 16, 16), 5, **SPACE)
    supernet, x = Supernet(found, seed=0), images(8, (3, 16, 16))
    names = set(supernet.state_dict())
    base = found.largest()

    def reached(logits):
        supernet.zero_grad()
        logits.square().sum().backward()
        return {name for name, p in supernet.named_parameters() if p.grad is not None and p.grad.any()}

    exact, errors = supernet(x, base), []
    learned = reached(exact)
    for count in (8, 4, 2):
        architecture = base.model_copy(update={"precision": bits(count)})
        logits = supernet(x, architecture)
        errors.append((logits - exact).detach().square().mean().item())
        assert reached(logits) == learned
    assert 0 < errors[0] < errors[1] < errors[2]
    assert torch.equal(supernet(x, base), exact)
    assert set(supernet.state_dict()) == names
