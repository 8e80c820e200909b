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
        "random search, for comparison": "8 candidates",  # the initial 8 are those of the search
        "the last candidates, trained longer": "8 x a training of 6,720 images",  # 2 batches of 4; 7 epochs of 15 x 64
        "deliver": "6 x a training of 6,720 images",  # two budgets, one static, two seeds
    }
    assert all(step.seconds > 0 for step in found.values())
    assert not Path("/nowhere").exists()


def test_seconds_follow_from_the_rates(monkeypatch):
    """At 100 images a second in every training, 5 seconds for the first candidate and 2 for others."""
    monkeypatch.setattr(module, "_rate", lambda train: 100.0)
    monkeypatch.setattr(module, "_evaluations", lambda run: (5.0, 1, 2.0))
    plain = told("deliver.seeds=[0, 1]", "search.retrain=2", "supernet.largest_epochs=1")
    assert {name: step.seconds for name, step in plain.items()} == pytest.approx(
        {
            "supernet": 4 * 9.88,
            "search": 5 + 15 * 2,
            "random search, for comparison": 5 + 7 * 2,
            "the last candidates, trained longer": 8 * 67.2,
            "deliver": 2 * 3 * 67.2,
        }
    )
    # A step at few bits, of which there are as many as of one epoch, takes twice as long.
    few = told("space.bits=[[8, 8]]", "train.quantized_epochs=1")["deliver"]
    assert few.work == "3 x a training of 7,680 images"
    assert few.seconds == pytest.approx(3 * (67.2 + 2 * 9.6))
    tuned = told("search.evaluator=fine-tune", "finetune.batch=64", "search.baseline=false")["search"]
    images = int(tuned.work.rpartition("training of ")[2].split()[0].replace(",", ""))
    assert tuned.seconds == pytest.approx(16 * images / 100)


def test_static_networks_are_trained_for_each_budget():
    plain, more = told(), told("deliver.static_budget=true")
    assert plain["deliver"].work.startswith("3 x ")
    assert more["deliver"].work.startswith("5 x ")


def test_what_a_run_does_not_do_is_not_timed():
    found = told("search.baseline=false", "search.evaluator=fine-tune", "finetune.inherit=false", "train.inherit=false")
    assert list(found) == ["search", "deliver"]
    assert told("search.retrain=99")["the last candidates, trained longer"].work.startswith("8 x ")
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


def test_a_training_of_one_step_takes_as_long_as_that(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)

    def train(track):
        clock.now += 2.0
        track.advance(50)

    assert module._rate(train) == pytest.approx(25)


def test_named_networks_are_timed_as_they_are(tmp_path):
    other = space("offramp", (1, 8, 8), 10, widths=((8,), (24,)), depths=((1,), (1,)), strides=(1, 2),
                  activations=("relu", "relu")).smallest()  # fmt: skip
    (tmp_path / "other.json").write_text(other.to_json())
    named = f'deliver.budgets=[{{name="own", mean_macs=4e4}}, {{name="n", architecture="{tmp_path / "other.json"}"}}]'
    found = told(named, "train.inherit=false", "search.evaluator=fine-tune", "finetune.batch=64")
    assert found["deliver"].work.startswith("3 x ")
    alone = told(named.replace('{name="own", mean_macs=4e4}, ', ""), "search.evaluations=0", "train.inherit=false",
                 "deliver.static_macs=[]")  # fmt: skip
    assert [*alone] == ["deliver"]


def test_in_a_space_of_one_backbone_the_first_at_some_bits_pays_for_the_others(monkeypatch):
    monkeypatch.setattr(module, "_evaluations", lambda run: (100.0, 2, 1.0))
    (searched,) = (s for s in forecast(Run(Recipe.load(TINY), "")) if s.name == "search")
    assert searched.seconds == 2 * 100 + 14 * 1


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
    "seconds, words",
    [(0.2, "1 s"), (100, "100 s"), (130, "2.2 minutes"), (7e3, "117 minutes"), (9e3, "2.5 hours"), (5e5, "5.8 days")],
)
def test_spans_of_time_are_told_in_units_that_suit_them(seconds, words):
    assert _long(Step("any", "any", seconds).seconds) == words
