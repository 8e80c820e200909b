"""Exits for a network that is there already: trained alone first, then searched with its weights to begin with."""

import json
import shutil

import pytest
import torch

from offramp.architecture import Architecture, Branch, Precision
from offramp.deliver import load
from offramp.nn import Supernet
from offramp.nn.warm_start import load_network
from offramp.pipeline import Run
from offramp.recipe import Recipe, RecipeError
from offramp.training import train_supernet
from offramp.training._losses import mixed
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
    there = tmp_path / "begun-with"
    shutil.copytree(alone.folder.chosen("mine"), there)
    recipe = Recipe.parse(WITH_EXITS.format(there=there))
    run = Run.open(recipe, tmp_path / "run")
    run.carry_out()
    net, _ = load(run.folder.chosen("exits"))
    mine = Architecture.load(there / "architecture.json")
    assert [s.blocks for s in net.architecture.stages] == [s.blocks for s in mine.stages][: len(net.stages)]
    metrics = json.loads((run.folder.chosen("exits") / "metrics.json").read_text())
    assert metrics["test_accuracy"] > 0.8
    assert len({trial.candidate.architecture for trial in run.study.trials}) > 3
    # The folder holds the network itself, and a supernet that began with its weights: both may go from where they were.
    stored = Recipe.load(run.folder.recipe, stored=True)
    assert Architecture.from_json(stored.space.options["backbone"]) == mine
    other = Recipe.parse(WITH_EXITS.format(there=there), overrides=[f"space.backbone='{BACKBONE.to_json()}'"])
    shutil.rmtree(there)
    shutil.rmtree(run.folder.chosen("exits"))
    Run.open(stored, tmp_path / "run").carry_out()
    assert (run.folder.chosen("exits") / "metrics.json").exists()
    with pytest.raises(RecipeError, match=r"space\.backbone"):
        Run.open(other, tmp_path / "run")


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


def test_the_backbone_need_not_learn_from_its_early_exits_in_the_supernet(alone):
    """With exit_gradient = 0 what the branches learn does not reach it: labels of theirs alone leave it as it was."""
    recipe = Recipe.parse(WITH_EXITS.format(there=alone.folder.chosen("mine")))
    space, data = Run(recipe, "").space, alone.task.without_test()
    made = {}
    for share in (0.0, 1.0):
        for weight in (0.0, 1.0):
            settings = recipe.supernet.model_copy(update={"exit_gradient": share, "epochs": 1, "momentum": 0.0})
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr("offramp.training._supernet.mixed", lambda *given, w=weight: w * mixed(*given))
                made[share, weight] = train_supernet(space, data, settings, seed=1)
    name = "stages/1/blocks/0/expand/conv/weight"
    assert torch.equal(made[0.0, 0.0].weights[name], made[0.0, 1.0].weights[name])
    assert not torch.equal(made[1.0, 0.0].weights[name], made[1.0, 1.0].weights[name])


def _gone(there):
    (there / "weights.safetensors").write_bytes(b"damaged")


def _other(there):
    (there / "architecture.json").write_text(BACKBONE.to_json())


def _few_bits(there):
    architecture = Architecture.load(there / "architecture.json")
    eight = Precision(backbone_weights=8, backbone_activations=8, branch_weights=8, branch_activations=8)
    (there / "architecture.json").write_text(architecture.model_copy(update={"precision": eight}).to_json())


@pytest.mark.parametrize(
    "spoil, message",
    [
        (_gone, r"weights.safetensors cannot be read as weights"),
        (_other, r"weights.safetensors are not those of architecture.json; \d+ of \d+ tensors are missing or"),
        (_few_bits, r"holds a network of few bits"),
    ],
)
def test_a_network_that_cannot_be_begun_with_is_refused_and_another_taken(alone, tmp_path, spoil, message):
    there = shutil.copytree(alone.folder.chosen("mine"), tmp_path / "there")
    text = WITH_EXITS.format(there=alone.folder.chosen("mine")).replace("network:", "network:{there}?")
    spoil(there)
    bad = Recipe.parse(text.replace("{there}?" + str(alone.folder.chosen("mine")), str(there)))
    with pytest.raises(RecipeError, match=message):
        Run.open(bad, tmp_path / "run").carry_out()
    Run.open(Recipe.parse(WITH_EXITS.format(there=alone.folder.chosen("mine"))), tmp_path / "run")


def test_without_a_place_for_an_exit_the_network_itself_comes_out(alone, tmp_path):
    text = WITH_EXITS.format(there=alone.folder.chosen("mine"))
    few = ["space.exits=[]", "search.proposer='nsga2'", "supernet.epochs=1", "train.joint_epochs=1"]
    run = Run.open(Recipe.parse(text, overrides=few), tmp_path)
    run.carry_out()
    assert len(load(run.folder.chosen("exits"))[0].architecture.exits) == 1


def test_weights_that_saw_held_out_images_are_refused(alone, tmp_path):
    recipe = Recipe.parse(WITH_EXITS.format(there=alone.folder.chosen("mine")), overrides=["data.seed=1"])
    with pytest.raises(RecipeError, match="was trained on another split of digits"):
        Run.open(recipe, tmp_path).carry_out()


def test_what_a_network_lacks_is_told_before_anything_runs(tmp_path):
    (tmp_path / "architecture.json").write_text(BACKBONE.to_json())
    text = WITH_EXITS.format(there=tmp_path)
    with pytest.raises(RecipeError, match=r"supernet.init: there is no file '.*weights.safetensors'"):
        Recipe.parse(text, files=True)
