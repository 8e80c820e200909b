"""Networks with gates learn when they are right: on real digits, in seconds."""

import pytest
import torch
from sklearn.metrics import roc_auc_score

from offramp.architecture import Architecture, Branch, Conv, Precision, Separable, Stage
from offramp.cost import cost
from offramp.data import SearchData, Split
from offramp.nn import build
from offramp.nn.quantize import rounds
from offramp.policy import GATE_MEASURES, Goal, operate, tune
from offramp.progress import Silent
from offramp.training import GateSettings, TrainSettings, score, train, train_either, train_gated
from offramp.training import _gated as gated_module
from offramp.training._fit import fit
from offramp.training._gate_losses import peak_loss
from offramp.training._gated import measured, support_set

SETTINGS = GateSettings(phases=(2, 4, 4), batch=32, lr=0.15, max_macs=6_000)


@pytest.fixture(scope="module")
def gated() -> Architecture:
    stages = (
        Stage(blocks=(Conv(out=10, stride=2),), exit=Branch(grid=2, gate=True)),
        Stage(blocks=(Separable(out=8),), exit=Branch(blocks=(Separable(out=8, stride=2),), gate=True)),
        Stage(blocks=(Conv(out=16, stride=2),), exit=Branch(grid=2)),
    )
    return Architecture(input=(1, 8, 8), classes=10, stages=stages)


def fewer(data: SearchData, count: int) -> SearchData:
    train = Split(data.train.images[:count], data.train.labels[:count])
    return SearchData(data.name, data.classes, train, data.select, data.augment)


@pytest.mark.parametrize("form", ["paper", "code"])
def test_trained_gates_tell_right_from_wrong(digits, gated, form):
    leaving = cost(gated).leaving("macs", "executed")
    settings = SETTINGS.model_copy(update={"accuracy_form": form})
    net = train_gated(gated, digits, settings, leaving=leaving, seed=1)
    table = score(net, digits.select)
    assert not net.training
    assert table.exit_accuracy[-1] > 0.75
    for e in range(2):
        assert roc_auc_score(table.correct[:, e], table.gates[:, e]) > 0.6
    for measure in GATE_MEASURES:
        bound = (leaving[0] + leaving[-1]) / 2
        tuned = tune(table, leaving, Goal.accuracy_at_cost(bound), measures=measure)
        assert tuned.feasible
        # Better than sending the same shares of samples to the exits blindly.
        shares = tuned.operation.utilisation
        assert tuned.operation.accuracy > sum(s * a for s, a in zip(shares, table.exit_accuracy))
        images, exits = digits.select.images[:64], tuned.policy.decide(table)[:64]
        assert (net.infer(images.float(), tuned.policy)[1].numpy() == exits).mean() > 0.95
        assert operate(tuned.policy, table, leaving) == tuned.operation


def test_plain_cross_entropies_train_gates_too(digits, gated):
    net = train(gated, digits, TrainSettings(backbone_epochs=1, joint_epochs=9, batch=32))
    table = score(net, digits.select)
    assert (table.exit_accuracy[1:] > 0.6).all()
    assert roc_auc_score(table.correct[:, 0], table.gates[:, 0]) > 0.6


def test_the_bound_on_costs_is_kept_by_the_gates(digits, gated):
    """With L_cost alone beside the backbone, the gates learn to let samples leave."""
    leaving, data = cost(gated).leaving("macs", "executed"), fewer(digits, 320)
    expected = []
    for weight in (0.0, 20.0):
        settings = SETTINGS.model_copy(
            update={"phases": (0, 3, 0), "weight_cost": weight, "max_macs": leaving[0] * 1.1}
        )
        table = score(train_gated(gated, data, settings, leaving=leaving), digits.select)
        c = torch.from_numpy(table.gates.copy()).sigmoid()
        expected.append(gated_module.cost_loss(c, leaving, 0.0, leaving[-1]).item())
    assert expected[1] < expected[0]


def test_a_support_set_is_balanced_and_held_out():
    labels = torch.tensor([0] * 80 + [1] * 15 + [2] * 5)
    support, rest = support_set(labels, 0.15, 0)
    assert labels[support].bincount().tolist() == [5, 5, 2]
    assert sorted([*support.tolist(), *rest.tolist()]) == list(range(100))
    assert labels[support].tolist() != sorted(labels[support].tolist())
    assert not torch.equal(support, support_set(labels, 0.15, (0, 1))[0])
    assert torch.equal(support, support_set(labels, 0.15, 0)[0])
    with pytest.raises(ValueError, match="class 3 has 1 training image"):
        support_set(torch.tensor([0, 0, 3]), 0.5, 0)


def test_each_epoch_of_the_last_phase_holds_out_another_support_set(digits, gated, monkeypatch):
    data, seen, used = fewer(digits, 300), [], []
    monkeypatch.setattr(gated_module, "measured", lambda *args: seen.append(args[1]) or measured(*args))
    monkeypatch.setattr(
        gated_module, "fit", lambda *args, **more: used.append(more["samples_of"]) or fit(*args, **more)
    )
    train_gated(gated, data, SETTINGS.model_copy(update={"phases": (1, 1, 2)}), leaving=(1, 2, 3), seed=5)
    assert len(seen) == 2
    assert not torch.equal(seen[0].labels, seen[1].labels)
    for epoch, split in zip((2, 3), seen):
        assert set(split.labels.bincount().tolist()) == {3}
        kept = data.train.images[used[0](epoch)]
        assert len(kept) == 270
        there = {image.numpy().tobytes() for image in kept}
        assert not any(image.numpy().tobytes() in there for image in split.images)
    assert [len(used[0](epoch)) for epoch in range(2)] == [300, 300]


def test_each_gate_is_drawn_to_the_accuracy_of_its_own_exit(digits, monkeypatch):
    """An exit without a gate lies between two that have one."""
    blocks = (Conv(out=8, stride=2),), (Separable(out=8),), (Separable(out=8),), (Conv(out=12, stride=2),)
    exits = Branch(grid=2, gate=True), Branch(), Branch(grid=2, gate=True), Branch(grid=2)
    stages = tuple(Stage(blocks=b, exit=e) for b, e in zip(blocks, exits))
    matrices, drawn = [], []
    monkeypatch.setattr(gated_module, "measured", lambda *args: matrices.append(torch.rand(10, 4)) or matrices[-1])
    monkeypatch.setattr(gated_module, "peak_loss", lambda *args: drawn.append(args) or peak_loss(*args))
    settings = SETTINGS.model_copy(update={"phases": (0, 0, 1)})
    architecture = Architecture(input=(1, 8, 8), classes=10, stages=stages)
    train_gated(architecture, fewer(digits, 80), settings, leaving=(1, 2, 3, 4))
    assert drawn
    for confidence, matrix, _ in drawn:
        assert confidence.shape[1] == 2
        assert torch.equal(matrix, matrices[0][:, [0, 2]])


def test_without_its_weight_there_is_no_support_set(digits, gated, monkeypatch):
    monkeypatch.setattr(gated_module, "support_set", lambda *_: pytest.fail("drawn"))
    settings = SETTINGS.model_copy(update={"phases": (0, 0, 1), "weight_peak": 0.0})
    train_gated(gated, fewer(digits, 64), settings, leaving=(1, 2, 3))


class Stopped(Exception):
    pass


class StopAt(Silent):
    def __init__(self, note: str) -> None:
        self.note = note

    def advance(self, count: int = 1, note: str | None = None) -> None:
        if note and note.startswith(self.note):
            raise Stopped


@pytest.mark.parametrize("epoch", [2, 4])
def test_a_training_stopped_ends_in_the_same_weights(digits, gated, tmp_path, epoch):
    data, settings, path = fewer(digits, 200), SETTINGS.model_copy(update={"phases": (1, 1, 2)}), tmp_path / "c"
    more = {"leaving": cost(gated).leaving(), "seed": 3, "identity": "x"}
    whole = train_gated(gated, data, settings, **more).state_dict()
    with pytest.raises(Stopped):
        train_gated(gated, data, settings, **more, checkpoint=path, track=StopAt(f"epoch {epoch}/"))
    again = train_gated(gated, data, settings, **more, checkpoint=path).state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_the_backbone_comes_first(digits, gated):
    settings = SETTINGS.model_copy(update={"phases": (1, 0, 0)})
    net = train_gated(gated, fewer(digits, 64), settings, leaving=(1, 2, 3))
    before = dict(build(gated, 0).named_parameters())
    same = {name for name, p in net.named_parameters() if torch.equal(p, before[name])}
    assert same == {name for name in before if name.startswith(("stages.0.exit", "stages.1.exit"))}


def test_few_bits_come_after_the_three_phases(digits, gated, tmp_path):
    """It says at 8 bits what it learned in float, gates included; the last phase goes on from a checkpoint."""
    eight = Precision(backbone_weights=8, backbone_activations=8, branch_weights=8, branch_activations=8)
    few = gated.model_copy(update={"precision": eight})
    data, gates = fewer(digits, 640), SETTINGS.model_copy(update={"phases": (1, 3, 1)})
    train_settings = TrainSettings(batch=32, quantized_epochs=2)
    plain = train_either(gated, data, train_settings, gates, seed=2)
    more = {"seed": 2, "identity": "x", "checkpoint": tmp_path / "c"}
    with pytest.raises(Stopped):
        train_either(few, data, train_settings, gates, **more, track=StopAt("epoch 1/2"))
    net = train_either(few, data, train_settings, gates, **more)
    assert rounds(net)
    assert not rounds(plain)
    assert not net.training
    exact, table = score(plain, digits.select), score(net, digits.select)
    assert (exact.logits.argmax(-1) == table.logits.argmax(-1)).mean() > 0.9
    assert abs(exact.gates - table.gates)[:, :2].mean() < 0.25 * exact.gates[:, :2].std()
    again = train_either(few, data, train_settings, gates, seed=2)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in net.state_dict().items())
    calibrated = train_either(few, data, train_settings.model_copy(update={"quantized_epochs": 0}), gates, seed=2)
    assert any(not torch.equal(value, net.state_dict()[name]) for name, value in calibrated.state_dict().items())


def test_what_does_not_fit_is_told(digits, gated, two_exits):
    with pytest.raises(ValueError, match="no exit of this network has a gate"):
        train_gated(two_exits, digits, SETTINGS, leaving=(1, 2))
    with pytest.raises(ValueError, match="leaving has 2 costs; the network has 3 exits"):
        train_gated(gated, digits, SETTINGS, leaving=(1, 2))
    with pytest.raises(ValueError, match="phases are all 0"):
        GateSettings(phases=(0, 0, 0))
