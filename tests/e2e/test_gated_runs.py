"""A NACHOS run, small: gated exits from the supernet to the exported file."""

import json
from pathlib import Path

import numpy as np
import pytest

from offramp.export import Model
from offramp.pipeline import Run
from offramp.recipe import Recipe, RecipeError

RECIPE = """
[data]
name = "digits"
limit = 512
[space]
name = "nachos"
width = 0.25
depths = [1]
kernels = [3]
expansions = [2, 3]
[supernet]
epochs = 2
batch = 64
[policy]
measures = ["gate"]
mac_rule = "paper"
mean_macs = 6e5
[search]
constraints = ["mean_macs <= 6e5"]
evaluations = 6
initial = 4
batch = 2
baseline = false
[gates]
batch = 64
lr = 0.1
phases = [1, 1, 1]
[train]
batch = 64
joint_epochs = 1
[deliver]
budgets = [{ name = "best", mean_macs = 6e5 }]
static_macs = [1e7]
[export]
check_images = 50
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = Run.open(Recipe.parse(RECIPE), tmp_path_factory.mktemp("gated"))
    run.carry_out()
    return run


def delivered(run: Run, name: str) -> tuple[Path, dict]:
    folder = run.folder.chosen(name)
    return folder, json.loads((folder / "metrics.json").read_text())


def test_the_delivered_network_leaves_by_its_gates(finished):
    folder, metrics = delivered(finished, "best")
    assert metrics["mac_rule"] == "paper"
    assert (metrics["kind"], metrics["measure"]) == ("early-exit", "gate")
    outcome = Model(folder / "model.onnx").predict(np.zeros((1, 8, 8), dtype=np.uint8))
    assert outcome.exit < len(metrics["exits"])


def test_a_static_network_beside_it_needs_no_gate(finished):
    _, metrics = delivered(finished, "static-10M")
    assert metrics["kind"] == "static"
    assert finished.folder.report.exists()


def test_gates_for_a_space_without_some_are_refused():
    with pytest.raises(RecipeError, match="gates: the exits of space 'edanas' have no gates"):
        Recipe.parse(
            RECIPE.replace('"nachos"', '"edanas"').replace('["gate"]', '["margin"]'),
            overrides=["policy.thresholds=genes"],
        )
