import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from offramp.architecture import Precision
from offramp.nn import build
from offramp.progress import Silent
from offramp.training import TrainSettings
from offramp.training._checkpoint import CheckpointError
from offramp.training._quantized import likeness, quantized


def test_few_bits_are_trained_by_sgd_whatever_trained_the_float_network(digits, two_exits):
    eight = Precision(backbone_weights=8, backbone_activations=8, branch_weights=8, branch_activations=8)
    architecture, images = two_exits.model_copy(update={"precision": eight}), digits.train.images[:64]

    def trained(optimiser: str, epochs: int) -> dict[str, Tensor]:
        settings = TrainSettings(optimiser=optimiser, quantized_epochs=epochs)
        net = build(architecture, 0)
        few = quantized(net, images, digits, settings, seed=0, identity="", checkpoint=None, track=Silent())
        return few.state_dict()

    calibrated, by_sgd, by_muon = trained("sgd", 0), trained("sgd", 1), trained("muon", 1)
    assert all(torch.equal(by_muon[name], value) for name, value in by_sgd.items())
    assert not all(torch.equal(calibrated[name], value) for name, value in by_sgd.items())


EIGHT = Precision(backbone_weights=8, backbone_activations=8, branch_weights=8, branch_activations=8)


def test_every_exit_learns_to_say_at_few_bits_what_it_said_in_float(digits, two_exits):
    """Without weight decay, what no loss asks anything of stays as calibrated."""
    net = build(two_exits.model_copy(update={"precision": EIGHT}), 0)
    made = []
    for epochs in (0, 1):
        settings = TrainSettings(quantized_epochs=epochs, weight_decay=0.0, exit_gradient=0.0)
        more = {"seed": 0, "identity": "", "checkpoint": None, "track": Silent()}
        made.append(quantized(net, digits.train.images[:64], digits, settings, **more))
    for calibrated, trained in zip(*(few.parameters() for few in made)):
        assert not torch.equal(calibrated, trained)


@pytest.mark.parametrize("changed", [{"quantized_lr": 0.001}, {"quantized_epochs": 2}])
def test_a_checkpoint_of_other_settings_is_refused(digits, two_exits, tmp_path, changed):
    net = build(two_exits.model_copy(update={"precision": EIGHT}), 0)
    settings = TrainSettings(quantized_epochs=1)
    more = {"seed": 0, "identity": "x", "checkpoint": tmp_path / "c", "track": Silent()}
    quantized(net, digits.train.images[:64], digits, settings, **more)
    with pytest.raises(CheckpointError):
        quantized(net, digits.train.images[:64], digits, settings.model_copy(update=changed), **more)


def test_likeness_is_the_divergence_from_what_was_said_in_float_at_every_exit():
    made = torch.Generator().manual_seed(0)
    outputs, target = (torch.randn(5, 3, 4, generator=made) for _ in range(2))
    outputs.requires_grad_()
    expected = 0.0
    for b in range(5):
        for e in range(3):
            p, q = ((x[b, e] / 2.5).softmax(-1) for x in (target, outputs))
            expected += 2.5**2 * (p * (p / q).log()).sum().item() / 5
    found = likeness(outputs, target, 4, 2.5)
    assert found.item() == pytest.approx(expected, rel=1e-5)
    found.backward()
    assert (outputs.grad.abs().sum(dim=(0, 2)) > 0.01).all()
    assert likeness(target, target, 4, 2.5).item() == pytest.approx(0, abs=1e-6)


def test_gates_are_imitated_beside_classes():
    made = torch.Generator().manual_seed(1)
    outputs, target = (torch.randn(5, 3, 5, generator=made) for _ in range(2))
    classes = likeness(outputs[..., :4], target[..., :4], 4, 2.0)
    sure, said = target[..., 4].sigmoid(), outputs[..., 4].sigmoid()
    gates = F.binary_cross_entropy(said, sure, reduction="none").sum(dim=1).mean()
    assert likeness(outputs, target, 4, 2.0).item() == pytest.approx((classes + gates).item(), rel=1e-5)
