from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from offramp.architecture import Architecture, Precision
from offramp.data import Augment, Split
from offramp.nn import Supernet, build
from offramp.progress import Silent
from offramp.training import GateSettings, SupernetSettings, TrainSettings, _optimiser, train, train_supernet
from offramp.training._checkpoint import CheckpointError, load
from offramp.training._fit import fit
from offramp.training._optimiser import sgd
from offramp.training.settings import OptimiserSettings

FAST = {"backbone_epochs": 1, "joint_epochs": 2, "batch": 64}


class Stopped(Exception):
    """The kill."""


class StopAt:
    """A tracker that stops the training once `images` have been reported."""

    def __init__(self, images: int) -> None:
        self.left = images
        self.advanced: list[int] = []

    def advance(self, count: int = 1, note: str | None = None) -> None:
        self.advanced.append(count)
        self.left -= count
        if self.left <= 0:
            raise Stopped


class Few:
    """As much of a data set as training needs: nothing but this may be asked for."""

    def __init__(self, data: Any, count: int = 192) -> None:
        self.train = Split(data.train.images[:count], data.train.labels[:count])
        self.augment: Augment = data.augment
        self.mean, self.std = data.mean, data.std


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("optimiser", ["sgd", "muon"])
@pytest.mark.parametrize("stop", [64, 3 * 64 + 1, 7 * 64], ids=["in epoch 1", "in epoch 2", "in epoch 3"])
def test_a_training_stopped_anywhere_ends_in_the_same_weights(digits, two_exits, tmp_path, stop, optimiser):
    data, settings, path = Few(digits), TrainSettings(**FAST, optimiser=optimiser), tmp_path / "checkpoint"
    whole = train(two_exits, data, settings, seed=3, identity="x").state_dict()
    with pytest.raises(Stopped):
        train(two_exits, data, settings, seed=3, identity="x", checkpoint=path, track=StopAt(stop))
    assert path.exists() == (stop > 3 * 64)
    rest = StopAt(10**9)
    again = train(two_exits, data, settings, seed=3, identity="x", checkpoint=path, track=rest)
    assert equal(again.state_dict(), whole)
    assert sum(rest.advanced) == 3 * 3 * 64
    assert rest.advanced[0] == stop // 192 * 192
    # Done already: nothing is left to train.
    done = StopAt(10**9)
    again = train(two_exits, data, settings, seed=3, identity="x", checkpoint=path, track=done)
    assert equal(again.state_dict(), whole)
    assert done.advanced == [3 * 3 * 64]


def test_a_supernet_stopped_goes_on_to_the_same_weights(digits, tiny, tmp_path):
    data, settings, path = Few(digits), SupernetSettings(epochs=2, batch=64), tmp_path / "checkpoint"
    whole = train_supernet(tiny, data, settings, seed=1, identity="x").state_dict()
    with pytest.raises(Stopped):
        train_supernet(tiny, data, settings, seed=1, identity="x", checkpoint=path, track=StopAt(5 * 64))
    again = train_supernet(tiny, data, settings, seed=1, identity="x", checkpoint=path)
    assert equal(again.state_dict(), whole)
    other = train_supernet(tiny, data, settings, seed=2, identity="x")
    assert not equal(other.state_dict(), whole)


def test_a_checkpoint_of_another_training_is_refused(digits, two_exits, tmp_path):
    path = tmp_path / "checkpoint"
    train(two_exits, Few(digits), TrainSettings(**FAST), identity="one", checkpoint=path)
    with pytest.raises(CheckpointError, match="one; now two"):
        train(two_exits, Few(digits), TrainSettings(**FAST), identity="two", checkpoint=path)


def test_the_backbone_comes_first_and_branches_wait(digits, two_exits, tmp_path):
    """In the first phase only the last exit learns: an earlier branch keeps its weights exactly."""

    class EndOfFirstPhase(Silent):
        def advance(self, count: int = 1, note: str | None = None) -> None:
            if note and "epoch 3/3" in note:
                raise Stopped

    path, settings = tmp_path / "checkpoint", TrainSettings(backbone_epochs=2, joint_epochs=1, batch=64)
    before = build(two_exits, 0).state_dict()
    with pytest.raises(Stopped):
        train(two_exits, Few(digits), settings, checkpoint=path, track=EndOfFirstPhase())
    stored = load(path, "")
    assert stored is not None
    after = stored["weights"]
    branch = {name for name, _ in build(two_exits).named_parameters() if name.startswith("stages.0.exit")}
    same = {name for name, _ in build(two_exits).named_parameters() if torch.equal(after[name], before[name])}
    assert same == branch


def test_a_batch_larger_than_the_split_is_told(digits, two_exits):
    with pytest.raises(ValueError, match="batch is 500, but the train split has only 192 images"):
        train(two_exits, Few(digits), TrainSettings(batch=500))


def test_a_loss_that_is_not_finite_ends_the_training(digits, two_exits, tmp_path):
    with pytest.raises(
        FloatingPointError, match=r"nan after epoch 1: lower train\.lr \(now 1e\+20\); where the search"
    ):
        train(two_exits, Few(digits), TrainSettings(**FAST | {"lr": 1e20}), checkpoint=tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize(
    "settings, told",
    [
        (SupernetSettings(lr=0.3, batch=32), "lower supernet.lr (now 0.3)"),
        (GateSettings(lr=0.02, batch=32), "lower gates.lr (now 0.02)"),
        (SupernetSettings(optimiser="muon", batch=32), "lower supernet.lr (now 0.2) or supernet.muon_lr (now 0.02)"),
    ],
)
def test_the_rate_that_is_too_high_is_named(digits, settings, told):
    module = torch.nn.Linear(64, 10)

    def loss_of(_epoch, _step):
        return lambda images, _labels: module(images.flatten(1)).sum() * torch.inf

    with pytest.raises(FloatingPointError) as caught:
        fit(module, loss_of, Few(digits, 64), settings, 1, seed=0, identity="", track=Silent())
    assert str(caught.value).endswith(f" after epoch 1: {told}")


def test_the_rate_of_few_bits_is_named(digits, two_exits):
    eight = Precision(backbone_weights=8, backbone_activations=8, branch_weights=8, branch_activations=8)
    settings = TrainSettings(**FAST, quantized_epochs=2, quantized_lr=1e20)
    with pytest.raises(FloatingPointError, match=r"lower train\.quantized_lr \(now 1e\+20\)"):
        train(two_exits.model_copy(update={"precision": eight}), Few(digits), settings)


@pytest.mark.parametrize("warmup", [0.0, 0.15, 1 / 9, 0.9])
def test_any_warm_up_of_a_short_training_works(digits, two_exits, warmup):
    train(two_exits, Few(digits), TrainSettings(**FAST, warmup=warmup))


def test_the_rate_rises_and_falls_over_all_steps(digits, monkeypatch):
    settings = OptimiserSettings(batch=32, lr=0.5, warmup=0.5)  # one worker: one call of the loss a step
    module, optimisers, rates = torch.nn.Linear(64, 10), [], []
    monkeypatch.setattr(_optimiser, "sgd", lambda *args: optimisers.append(sgd(*args)) or optimisers[0])

    def loss_of(epoch: int, step: int):
        assert (step, epoch) == (len(rates), len(rates) // 3)

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            assert images.dtype == torch.float32
            rates.append(optimisers[0].param_groups[0]["lr"])
            return torch.nn.functional.cross_entropy(module(images.flatten(1) / 255), labels)

        return loss

    losses = fit(module, loss_of, Few(digits, 96), settings, 4, seed=0, identity="", track=Silent())
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    assert len(rates) == 12
    assert rates[:6] == sorted(rates[:6])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert max(rates) == pytest.approx(0.5)
    assert rates[-1] < 1e-4


def test_gradients_are_clipped(digits):
    module = torch.nn.Linear(64, 10, bias=False)
    settings = OptimiserSettings(batch=64, lr=1.0, warmup=0.0, momentum=0.0, weight_decay=0.0, clip=1e-3)
    before = module.weight.detach().clone()

    def loss_of(epoch: int, step: int):
        return lambda images, labels: 1e4 * torch.nn.functional.cross_entropy(module(images.flatten(1)), labels)

    fit(module, loss_of, Few(digits, 64), settings, 1, seed=0, identity="", track=Silent())
    moved = (module.weight - before).norm()
    assert 0 < moved <= 1.001e-3


def test_each_epoch_is_shuffled_anew_and_by_the_seed(digits):
    def seen(seed: int) -> list[tuple[int, ...]]:
        module, found = torch.nn.Linear(1, 1), []

        def loss_of(epoch: int, step: int):
            def loss(images: Tensor, labels: Tensor) -> Tensor:
                found.append(tuple(labels.tolist()))
                return module(torch.ones(1, 1)).sum()

            return loss

        fit(module, loss_of, Few(digits, 32), OptimiserSettings(batch=32), 3, seed=seed, identity="", track=Silent())
        return found

    assert seen(0) == seen(0)
    assert len(set(seen(0) + seen(1))) == 6


@pytest.mark.parametrize("augment", [Augment(True, 0), Augment(False, 1), Augment(True, 1), Augment(False, 0)])
def test_the_loss_is_handed_augmented_images(digits, augment):
    """Every image comes once an epoch, as one of the variants that `augment` allows, and all variants come in time."""
    data, module, found = Few(digits, 32), torch.nn.Linear(1, 1), []
    data.augment = augment
    sides = range(-augment.pad, augment.pad + 1)
    variants = {}
    for i, image in enumerate(data.train.images.numpy()):
        for mirrored in (image, image[..., ::-1]) if augment.flip else (image,):
            wide = np.pad(mirrored, ((0, 0), (augment.pad,) * 2, (augment.pad,) * 2), mode="reflect")
            for row in sides:
                for column in sides:
                    y, x = row + augment.pad, column + augment.pad
                    variants[wide[:, y : y + 8, x : x + 8].astype(np.float32).tobytes()] = i

    def loss_of(epoch: int, step: int):
        def loss(images: Tensor, labels: Tensor) -> Tensor:
            places = [variants[image.numpy().tobytes()] for image in images.contiguous()]
            assert sorted(places) == list(range(32))
            assert labels.equal(data.train.labels[places])
            found.extend(image.numpy().tobytes() for image in images.contiguous())
            return module(torch.ones(1, 1)).sum()

        return loss

    fit(module, loss_of, data, OptimiserSettings(batch=32), 200, seed=0, identity="", track=Silent())
    assert set(found) == set(variants)


def test_starting_from_the_supernet_is_starting_from_its_slice(digits, tiny):
    supernet = Supernet(tiny, seed=4)
    architecture: Architecture = tiny.sample(5)
    net = train(architecture, Few(digits), TrainSettings(**FAST | {"lr": 1e-12}), supernet=supernet)
    for (name, parameter), start in zip(net.named_parameters(), supernet.slice(architecture).parameters()):
        torch.testing.assert_close(parameter, start, msg=name)
    assert net.mean.flatten().tolist() == pytest.approx(digits.mean)
