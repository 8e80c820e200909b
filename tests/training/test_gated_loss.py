"""What the gated training hands to its steps: which losses, in which form, at which costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from offramp.architecture import Architecture, Branch, Conv, Stage
from offramp.cost import MAC_RULES, cost
from offramp.data import SearchData
from offramp.nn import EarlyExitNet
from offramp.training import GateSettings, TrainSettings, train_gated
from offramp.training import _gated as gated_module
from offramp.training._gate_losses import accuracy_loss, split_gates
from offramp.training._gated import train_either

LEAVING = (1.0, 2.0, 3.0)


@pytest.fixture(scope="module")
def gated() -> Architecture:
    stages = (
        Stage(blocks=(Conv(out=8, stride=2),), exit=Branch(grid=2, gate=True)),
        Stage(blocks=(Conv(out=8),), exit=Branch(grid=2, gate=True)),
        Stage(blocks=(Conv(out=8, stride=2),), exit=Branch(grid=2)),
    )
    return Architecture(input=(1, 8, 8), classes=10, stages=stages)


@pytest.fixture
def batch(digits: SearchData) -> tuple[torch.Tensor, torch.Tensor]:
    return digits.train.images[:64].float(), digits.train.labels[:64]


def given_to_fit(monkeypatch: pytest.MonkeyPatch, *arguments: Any, **more: Any) -> tuple[EarlyExitNet, Any]:
    """The network as it begins, and `loss_of`; nothing is trained."""
    seen: list[Any] = []
    monkeypatch.setattr(gated_module, "fit", lambda *given, **_: seen.extend(given))
    train_gated(*arguments, leaving=LEAVING, **more)
    return seen[0].train(), seen[1]


def test_the_last_phase_adds_the_distance_to_the_support_matrix(digits, gated, batch, monkeypatch) -> None:
    matrices: list[torch.Tensor] = []
    measured = gated_module.measured
    monkeypatch.setattr(gated_module, "measured", lambda *a: matrices.append(measured(*a)) or matrices[-1])
    settings = GateSettings(phases=(0, 1, 1), weight_peak=0.7)
    net, loss_of = given_to_fit(monkeypatch, gated, digits, settings)
    images, labels = batch
    early, late = (loss_of(epoch, 0)(images, labels) for epoch in (0, 1))
    c = net(images)[:, :2, 10].sigmoid()
    aims = torch.stack([matrices[0][label, :2] for label in labels])
    expected = 0.7 * ((c - aims) ** 2).mean()
    assert expected > 0.01
    assert (late - early).item() == pytest.approx(expected.item(), rel=1e-3)


def test_the_form_of_l_acc_is_the_one_asked_for(digits, gated, batch, monkeypatch) -> None:
    images, labels = batch
    found = {}
    for form in ("paper", "code"):
        settings = GateSettings(phases=(0, 1, 0), accuracy_form=form, weight_accuracy=0.5)
        net, loss_of = given_to_fit(monkeypatch, gated, digits, settings)
        logits, gates = split_gates(net(images), 10)
        found[form] = loss_of(0, 0)(images, labels).item()
        assert found[form] == pytest.approx(0.5 * accuracy_loss(logits, gates, labels, [0, 1], form).item(), rel=1e-4)
    assert abs(found["paper"] - found["code"]) > 0.1


@pytest.mark.parametrize("rule", MAC_RULES)
def test_gamma_follows_the_rule_of_the_settings(digits, gated, monkeypatch, rule) -> None:
    used: list[Any] = []
    monkeypatch.setattr(gated_module, "train_gated", lambda *_, leaving, **__: used.append(leaving))
    train_either(gated, digits, TrainSettings(), GateSettings(mac_rule=rule))
    assert used == [cost(gated).leaving("macs", rule)]
    assert cost(gated).leaving("macs", "paper") != cost(gated).leaving("macs", "executed")
