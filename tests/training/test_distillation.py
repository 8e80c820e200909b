"""What every exit learns from in one step: the gradient at its logits, against softmax differences written out."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from offramp.nn import EarlyExitNet, Supernet
from offramp.training import SupernetSettings, TrainSettings, _final, _supernet, train, train_supernet

TEMPERATURE = 2.0


class Call(NamedTuple):
    """What a network said of a batch, and the gradient that came back: (B, E, K) each."""

    logits: Tensor
    gradient: Tensor


@pytest.fixture
def batch(digits) -> tuple[Tensor, Tensor]:
    return digits.train.images[:48].float(), digits.train.labels[:48]


@pytest.fixture
def step(monkeypatch, batch):
    """A function: the calls of the networks of `kind` in one step of a training's loss, that of `epoch`."""

    def taken(room, kind, training, epoch=0) -> list[Call]:
        losses, logits, gradients = [], [], {}
        monkeypatch.setattr(room, "fit", lambda module, loss_of, *_, **__: losses.append((module, loss_of)))
        method = "classify" if kind is EarlyExitNet else "forward"  # what gives logits, however images came to be maps
        forward = getattr(kind, method)

        def noted(self, *inputs, **options):
            said, number = forward(self, *inputs, **options), len(logits)
            if said.requires_grad:
                said.register_hook(lambda gradient: gradients.setdefault(number, gradient))
                logits.append(said.detach())
            return said

        monkeypatch.setattr(kind, method, noted)
        training()
        (module, loss_of) = losses[0]
        module.train()
        loss_of(epoch, 0)(*batch).backward()
        return [Call(said, gradients[i]) for i, said in enumerate(logits)]

    return taken


def from_labels(logits: Tensor, labels: Tensor) -> Tensor:
    """Of the mean cross-entropy of each exit."""
    return (logits.softmax(-1) - torch.nn.functional.one_hot(labels, 10)[:, None]) / len(labels)


def from_both(logits: Tensor, labels: Tensor, teacher: Tensor, share: float) -> Tensor:
    """Of (1 - share) cross-entropy + share T^2 KL(teacher || student); the teacher's logits are (B, K)."""
    p, q = (teacher / TEMPERATURE).softmax(-1)[:, None], (logits / TEMPERATURE).softmax(-1)
    return (1 - share) * from_labels(logits, labels) + share * TEMPERATURE * (q - p) / len(labels)


def alike(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.fixture(params=[(0.5, 0), (0.3, 2), (1.0, 1)], ids=lambda found: "share {}, {} variants".format(*found))
def supernet_step(request, step, digits, tiny):
    """(calls of a full step, share, networks per backbone)"""
    share, variants = request.param
    settings = SupernetSettings(distill=share, temperature=TEMPERATURE, randoms=1, variants=variants)
    calls = step(_supernet, Supernet, lambda: train_supernet(tiny, digits, settings))
    assert len(calls) == 3  # largest, smallest, random
    assert all(call.logits.shape[1] == 2 * (1 + variants) for call in calls)
    return calls, share, 1 + variants


def consensus(largest: Call) -> Tensor:
    """The teacher: the mean of the largest network's final log-probabilities over its variants."""
    return largest.logits[:, 1::2].log_softmax(-1).mean(1)


def test_the_largest_network_s_last_exit_learns_from_the_labels_alone(supernet_step, batch):
    (largest, *_), _, networks = supernet_step
    alike(largest.gradient[:, 1::2], from_labels(largest.logits[:, 1::2], batch[1]) / networks)


def test_the_largest_network_s_early_exits_learn_from_the_labels_and_its_last(supernet_step, batch):
    (largest, *_), share, networks = supernet_step
    expected = from_both(largest.logits[:, ::2], batch[1], consensus(largest), share) / networks
    assert expected.abs().max() > 1e-4
    alike(largest.gradient[:, ::2], expected)


def test_all_exits_of_the_others_learn_from_the_labels_and_the_largest_s_last(supernet_step, batch):
    (largest, *others), share, networks = supernet_step
    for call in others:
        expected = from_both(call.logits, batch[1], consensus(largest), share) / networks
        assert expected.abs().amax((0, 2)).min() > 1e-4
        alike(call.gradient, expected)


@pytest.mark.parametrize("share, weight", [(0.5, 1.0), (0.8, 3.0)])
def test_early_exits_of_a_chosen_network_learn_from_the_labels_and_its_last(
    step, digits, two_exits, batch, share, weight
):
    settings = TrainSettings(backbone_epochs=1, distill=share, temperature=TEMPERATURE, final_weight=weight)
    (call,) = step(_final, EarlyExitNet, lambda: train(two_exits, digits, settings), epoch=1)
    early, last = call.logits[:, :1], call.logits[:, 1:]
    alike(call.gradient[:, :1], from_both(early, batch[1], last[:, 0], share))
    alike(call.gradient[:, 1:], weight * from_labels(last, batch[1]))
