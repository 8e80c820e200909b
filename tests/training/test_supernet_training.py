import pytest
import torch
from safetensors.torch import save_file

from offramp.architecture import Precision
from offramp.nn import Supernet
from offramp.spaces import space
from offramp.training import SupernetSettings, train_supernet


@pytest.fixture
def asked(monkeypatch):
    """Every call of a supernet: the architectures that it was asked for."""
    calls, forward = [], Supernet.forward

    def noted(self, images, *architectures, **options):
        calls.append(architectures)
        return forward(self, images, *architectures, **options)

    monkeypatch.setattr(Supernet, "forward", noted)
    return calls


def test_the_largest_network_learns_alone_at_first(digits, tiny, asked):
    train_supernet(tiny, digits, SupernetSettings(epochs=2, largest_epochs=1, batch=512, randoms=1, variants=0))
    backbones = [tuple(stage.blocks for stage in call[0].stages) for call in asked]
    largest = tuple(stage.blocks for stage in tiny.largest().stages)
    alone = len(backbones) // 4  # a call each step at first, then three
    assert set(backbones[:alone]) == {largest}
    assert backbones[alone:].count(largest) < len(backbones[alone:]) == 3 * alone


def test_networks_of_few_bits_begin_in_float_and_then_learn_at_their_bits(digits, asked):
    few = space("zniber", digits.input, len(digits.classes), width=0.25, bits=[(4, 8)], exits=[2])
    settings = SupernetSettings(epochs=2, largest_epochs=1, batch=512, variants=1)
    train_supernet(few, digits, settings)
    bits = [[architecture.precision for architecture in call] for call in asked]
    half = len(bits) // 2
    assert bits[:half] == [[Precision()] * 2] * half
    assert {(p.backbone_weights, p.branch_activations) for call in bits[half:] for p in call} == {(4, 8)}


def test_no_epochs_leave_the_first_weights_as_they_are(digits, tiny):
    trained = dict(train_supernet(tiny, digits, SupernetSettings(epochs=0), seed=3).named_parameters())
    for name, tensor in Supernet(tiny, 3).named_parameters():
        torch.testing.assert_close(trained[name], tensor, rtol=0, atol=0)


def test_the_weights_of_another_run_are_the_first_ones(digits, tiny, tmp_path, capsys):
    there = train_supernet(tiny, digits, SupernetSettings(epochs=1, batch=512, randoms=0, variants=0))
    save_file(there.state_dict(), tmp_path / "supernet.safetensors")
    here = train_supernet(tiny, digits, SupernetSettings(epochs=0, init=f"run:{tmp_path}"), seed=3)
    for name, tensor in there.named_parameters():
        torch.testing.assert_close(here.get_parameter(name), tensor, rtol=0, atol=0)
    count = len(here.weights)
    assert f"{count} of {count} tensors begin as in {tmp_path}" in capsys.readouterr().err
