"""A delivered network in float, delivered once more at few bits."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from offramp.cli import app
from offramp.deliver import load
from offramp.export import Model
from offramp.few_bits import quantize_delivered
from offramp.nn.quantize import rounds
from offramp.pipeline import Run
from offramp.recipe import Recipe

TINY = Path(__file__).with_name("tiny.toml")
BUDGETS = 'deliver.budgets=[{ name = "small", mean_macs = 4e4 }, { name = "large", mean_macs = 9e4 }]'


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A finished run of two budgets and two seeds."""
    recipe = Recipe.load(TINY, [BUDGETS, "deliver.seeds=[0, 1]", "search.baseline=false", "search.evaluations=8"])
    run = Run.open(recipe, tmp_path_factory.mktemp("run"))
    run.carry_out()
    return run


@pytest.fixture
def run(begun, tmp_path):
    """A copy of it."""
    shutil.copytree(begun.folder.root, tmp_path / "run")
    return Run.stored(tmp_path / "run")


def bits_of(net):
    p = net.architecture.precision
    return p.backbone_weights, p.backbone_activations, p.branch_weights, p.branch_activations


def test_it_is_delivered_beside_the_one_in_float(run):
    folder = run.folder.chosen("large")
    before, (there, metrics) = json.loads((folder / "metrics.json").read_text()), quantize_delivered(folder, 8)
    assert there == run.folder.chosen("large-8-8").resolve()
    net, policy = load(there)
    assert rounds(net)
    assert bits_of(net) == (8, 8, 8, 8)
    assert abs(metrics["test_accuracy"] - before["test_accuracy"]) < 0.03
    # Thresholds are those of this network, for the budget of the one in float, not for the recipe's own goal.
    assert metrics["select"]["mean_macs"] <= 9e4
    assert tuple(metrics["budget"]) == ("mean_macs", 9e4)
    assert (metrics["seed"], metrics["quantized_from"]) == (before["seed"], "large")
    assert metrics["test_accuracy"] != pytest.approx(1 / 10, abs=0.05)
    images = run.task.test.images[:100]
    logits, _ = net.infer(images.float(), policy)
    said = [Model(there / "model.onnx").run(image)[0].argmax() for image in images.numpy()]
    assert np.mean(logits.argmax(1).numpy() == said) >= 0.98
    assert (there / "model.onnx").stat().st_size < (folder / "model.onnx").stat().st_size
    assert "large-8-8" in run.folder.report.read_text()
    assert json.loads((folder / "metrics.json").read_text()) == before
    assert not list(there.glob("*.training*"))


def test_training_at_few_bits_brings_back_what_rounding_takes(run):
    folder = run.folder.chosen("small")
    _, calibrated = quantize_delivered(folder, 2)
    shutil.rmtree(run.folder.chosen("small-2-2"))
    _, trained = quantize_delivered(folder, 2, epochs=6)
    assert trained["static_accuracy"] > calibrated["static_accuracy"] + 0.05


def test_the_seeds_of_a_budget_stay_together(run):
    there, metrics = quantize_delivered(run.folder.chosen("small-seed1"), 8, 4)
    assert there.name == "small-8-4-seed1"
    assert metrics["seed"] == 1
    assert bits_of(load(there)[0]) == (8, 8, 4, 4)


def test_a_run_goes_on_with_it_in_the_folder(run):
    there, _ = quantize_delivered(run.folder.chosen("small"), 8)
    kept = (there / "metrics.json").read_text()
    run.carry_out()
    assert (there / "metrics.json").read_text() == kept


def test_weights_are_those_in_float_rounded(run):
    folder = run.folder.chosen("large")
    quantize_delivered(folder, 8)
    (net, _), (few, _) = load(folder), load(run.folder.chosen("large-8-8"))
    images = run.task.test.images[:200].float()
    with torch.inference_mode():
        one, other = net(images)[:, -1], few(images)[:, -1]
    assert (one.argmax(1) == other.argmax(1)).float().mean() > 0.95


def test_the_command_shows_both(run):
    answer = CliRunner().invoke(app, ["quantize", str(run.folder.chosen("small")), "--bits", "8,4"])
    assert answer.exit_code == 0, answer.output
    assert all(word in answer.output for word in ("float", "8/4", "small-8-4"))
    told = CliRunner().invoke(app, ["quantize", str(run.folder.chosen("large")), "--json"])
    assert json.loads(told.stdout)["folder"].endswith("large-8-8")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["small", "--bits", "9"], "--bits is '9'; it must be 2 to 8"),
        (["small", "--bits", "8,4,4"], "--bits is '8,4,4'; it must be 2 to 8"),
        (["small", "--bits", "7.5"], "--bits is '7.5'; it must be 2 to 8"),
        (["small", "--bits", "32"], "that is float, as the network is already"),
        (["."], "is the folder of a run; give that of a network in it"),
    ],
)
def test_mistakes_are_told(run, arguments, message):
    folder = run.folder.root / "chosen" / arguments[0] if arguments[0] != "." else run.folder.root
    answer = CliRunner().invoke(app, ["quantize", str(folder), *arguments[1:]])
    assert answer.exit_code != 0
    assert message in str(answer.exception).replace("\n", " ")


def test_it_is_made_once_and_from_float(run):
    folder = run.folder.chosen("small")
    there, _ = quantize_delivered(folder, 8)
    with pytest.raises(ValueError, match="is there already; move it away"):
        quantize_delivered(folder, 8)
    with pytest.raises(ValueError, match="has few bits already; give one in float"):
        quantize_delivered(there, 4)
