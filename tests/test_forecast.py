"""How long a run will take is told from steps of its own."""

from pathlib import Path

import pytest

from offramp import data
from offramp import forecast as module
from offramp.cli._recipe import _long
from offramp.deliver import trained_images
from offramp.forecast import Step, forecast
from offramp.pipeline import Run
from offramp.recipe import Recipe
from offramp.spaces import space
from offramp.training import GateSettings, TrainSettings, train_either

TINY = Path(__file__).parent / "e2e" / "tiny.toml"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "_LEAST_SECONDS", 0.0)


def told(*overrides):
    return {step.name: step for step in forecast(Run(Recipe.load(TINY, overrides), "/nowhere/at/all"))}


def test_every_step_of_a_run_is_timed():
    found = told("deliver.seeds=[0, 1]", "search.retrain=2")
    assert {name: step.work.partition(", ")[0] for name, step in found.items()} == {
        "supernet": "4 epochs of 988 images",
        "search": "16 candidates",
        "random search, for comparison": "16 candidates",
        "the last candidates, trained longer": "8 x a training of 6,720 images",  # 2 batches of 4; 7 epochs of 15 x 64
        "deliver": "6 x a training of 6,720 images",  # two budgets, one static, two seeds
    }
    assert all(step.seconds > 0 for step in found.values())
    assert not Path("/nowhere").exists()


def test_what_a_run_does_not_do_is_not_timed():
    found = told("search.baseline=false", "search.evaluator=fine-tune", "finetune.inherit=false", "train.inherit=false")
    assert list(found) == ["search", "deliver"]
    assert found["search"].work == "16 x a training of 17,920 images"  # 20 epochs, by default, of 7 x 128


class Clock:
    """A training of 100 images a second, but for its first step."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def train(self, track):
        track.advance(0)
        for _ in range(50):
            self.now += 0.5 if self.now else 90.0
            track.advance(50)


def test_the_first_step_does_not_count(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "_LEAST_SECONDS", 4.0)
    assert module._rate(clock.train) == pytest.approx(100)
    assert clock.now == 94.0  # and it is not watched to its end


def test_a_training_takes_as_many_images_as_was_told():
    class Count:
        seen = 0

        def advance(self, count=1, note=None):
            self.seen += count

    task = data.task("digits", limit=150).without_test()
    settings = TrainSettings(batch=64, backbone_epochs=1, joint_epochs=2, quantized_epochs=1)
    gates = GateSettings(batch=50, phases=(1, 1, 0))
    narrow = {"widths": ((8,), (8,)), "depths": ((1,), (1,)), "strides": (1, 2), "activations": ("relu", "relu")}
    for name, more in (("offramp", {}), ("offramp", {"bits": ((8, 8),)}), ("nachos", {})):
        network = space(name, task.input, 10, **(narrow if name == "offramp" else {}), **more).smallest()
        if name == "nachos":
            network = next(a for a in map(space(name, task.input, 10).sample, range(99)) if a.gated)
        counted = Count()
        train_either(network, task, settings, gates, track=counted)
        assert counted.seen == trained_images(network, settings, gates, len(task.train))


@pytest.mark.parametrize(
    "seconds, words", [(0.2, "1 s"), (100, "100 s"), (130, "2.2 minutes"), (9e3, "2.5 hours"), (5e5, "5.8 days")]
)
def test_spans_of_time_are_told_in_units_that_suit_them(seconds, words):
    assert _long(Step("any", "any", seconds).seconds) == words
