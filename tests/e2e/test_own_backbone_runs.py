"""Exits for a network that is there already: trained alone first, then searched with its weights to begin with."""

import json

import pytest
import torch

from offramp.architecture import Architecture, Branch
from offramp.deliver import load
from offramp.nn import Supernet
from offramp.nn.warm_start import load_network
from offramp.pipeline import Run
from offramp.recipe import Recipe, RecipeError
from own_backbone import BACKBONE

ALONE = """
seed = 3
[data]
name = "digits"
[policy]
mean_macs = 1e9
[search]
evaluations = 0
[train]
inherit = false
batch = 64
lr = 0.2
backbone_epochs = 0
joint_epochs = 6
[deliver]
budgets = [{{ name = "mine", mean_macs = 1e9, architecture = "{file}" }}]
"""
WITH_EXITS = """
seed = 3
[data]
name = "digits"
[space]
name = "fixed"
backbone = "{there}/architecture.json"
branch_depths = [0, 1]
[supernet]
init = "network:{there}"
epochs = 2
batch = 64
[policy]
mean_macs = 2e5
[search]
evaluations = 12
initial = 6
batch = 3
statistics_images = 300
baseline = false
[train]
batch = 64
lr = 0.05
backbone_epochs = 0
joint_epochs = 2
exit_gradient = 0
[deliver]
budgets = [{{ name = "exits", mean_macs = 2e5 }}]
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A finished run of the backbone with its final exit alone."""
    folder = tmp_path_factory.mktemp("alone")
    last = BACKBONE.stages[-1].model_copy(update={"exit": Branch()})
    bare = BACKBONE.model_copy(update={"stages": (*BACKBONE.stages[:-1], last)}).with_exits((4,))
    network = bare.model_copy(update={"input": (1, 8, 8), "classes": 10})
    (folder / "mine.json").write_text(network.to_json())
    run = Run.open(Recipe.parse(ALONE.format(file=folder / "mine.json")), folder / "run")
    run.carry_out()
    return run


def test_exits_are_searched_for_a_network_that_is_there(alone, tmp_path):
    there = alone.folder.chosen("mine")
    recipe = Recipe.parse(WITH_EXITS.format(there=there))
    run = Run.open(recipe, tmp_path)
    run.carry_out()
    net, _ = load(run.folder.chosen("exits"))
    mine = Architecture.load(there / "architecture.json")
    assert [s.blocks for s in net.architecture.stages] == [s.blocks for s in mine.stages][: len(net.stages)]
    metrics = json.loads((run.folder.chosen("exits") / "metrics.json").read_text())
    assert metrics["test_accuracy"] > 0.8
    assert len({trial.candidate.architecture for trial in run.study.trials}) > 3
    # The folder holds the network itself: its file may go, and another one is refused.
    stored = Recipe.load(run.folder.recipe, stored=True)
    assert Architecture.from_json(stored.space.options["backbone"]) == mine
    Run.open(stored, tmp_path).carry_out()
    other = Recipe.parse(WITH_EXITS.format(there=there), overrides=[f"space.backbone='{BACKBONE.to_json()}'"])
    with pytest.raises(RecipeError, match=r"space\.backbone"):
        Run.open(other, tmp_path)


def test_the_supernet_begins_as_the_network(alone):
    there = alone.folder.chosen("mine")
    net, _ = load(there)
    run = Run(Recipe.parse(WITH_EXITS.format(there=there)), "")
    supernet = Supernet(run.space, 0)
    supernet.normalise(run.task.mean, run.task.std)
    new = load_network(supernet, there)
    assert new
    assert all("/exit/" in name and not name.startswith("stages/4") for name in new)
    images = run.task.select.images[:64].float()
    slice_ = supernet.slice(run.space.smallest())
    slice_.load_state_dict({k: v for k, v in net.state_dict().items() if "running" in k}, strict=False)
    with torch.inference_mode():
        torch.testing.assert_close(slice_.eval()(images), net.eval()(images))


def test_weights_that_saw_held_out_images_are_refused(alone, tmp_path):
    recipe = Recipe.parse(WITH_EXITS.format(there=alone.folder.chosen("mine")), overrides=["data.seed=1"])
    with pytest.raises(RecipeError, match="was trained on another split of digits"):
        Run.open(recipe, tmp_path).carry_out()


def test_what_a_network_lacks_is_told_before_anything_runs(tmp_path):
    (tmp_path / "architecture.json").write_text(BACKBONE.to_json())
    text = WITH_EXITS.format(there=tmp_path)
    with pytest.raises(RecipeError, match=r"supernet.init: there is no file '.*weights.safetensors'"):
        Recipe.parse(text, files=True)
