"""A run for an NPU, small: digits at 3 x 32 x 32, 8 bits throughout; its stages come out as TFLite files."""

import json

import numpy as np
import pytest
from large_digits import large_digits

from offramp import cost
from offramp.deliver import load
from offramp.pipeline import Run
from offramp.policy import ScoreTable
from offramp.recipe import Recipe

pytest.importorskip("ethosu", reason="ethos-u-vela is not installed")

NPU = "ethos-u55-128"
RECIPE = """
[data]
name = "npz"
root = "{root}"
limit = 96
select = 60
test = 60
[space]
name = "zniber"
width = 0.25
exits = [0, 4]
heads = ["single"]
bits = [[8, 8]]
thresholds = [0.9]
[supernet]
epochs = 1
batch = 32
variants = 0
[hardware]
device = "ethos-u55-128"
[policy]
mean_latency_ms = 5.0
[search]
objectives = ["error", "mean_latency_ms"]
evaluations = 4
initial = 4
images = 40
statistics_images = 32
baseline = false
[train]
batch = 32
backbone_epochs = 0
joint_epochs = 4
quantized_epochs = 1
[deliver]
budgets = [{{ name = "fast", mean_latency_ms = 5.0 }}]
[export]
check_images = 20
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("npu")
    run = Run.open(Recipe.parse(RECIPE.format(root=large_digits(folder))), folder / "run")
    run.carry_out()
    return run


def test_the_delivered_network_is_timed_with_its_own_weights(finished):
    folder = finished.folder.chosen("fast")
    metrics = json.loads((folder / "metrics.json").read_text())
    net, policy = load(folder)
    files = [path.read_bytes() for path in sorted((folder / "tflite").glob("stage_*.tflite"), key=_number)]
    assert len(files) == len(net.architecture.stages)
    costs = cost(net.architecture, NPU, files)
    latency = np.array(costs.leaving("latency_ms"))
    left = policy.decide(ScoreTable.load(folder / "test_scores.npz"))
    assert metrics["device"] == NPU
    assert metrics["exit_latency_ms"] == pytest.approx(latency.tolist())
    assert metrics["latency_ms"] == pytest.approx(latency[left].mean())
    parts = [*metrics["stage_latency_ms"], *filter(None, metrics["branch_latency_ms"])]
    assert sum(parts) == pytest.approx(latency[-1])
    assert sum(metrics["stage_weight_bytes"]) == pytest.approx(costs.total.weight_bytes)
    assert max(metrics["stage_activation_bytes"]) == costs.total.activation_bytes
    # Weights at random in place of its own: a few percent.
    backbone = finished.space.largest().with_exits((11,))
    assert metrics["static_latency_ms"] == pytest.approx(cost(backbone, NPU).total.latency_ms, rel=0.05)
    assert metrics["npu_weight_bytes"] == costs.total.weight_bytes
    assert "energy_mj" not in metrics  # Arm's compiler tells none


def test_the_staged_files_decide_as_the_network_does(finished):
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    from offramp.export import StagedModel

    folder = finished.folder.chosen("fast")
    net, policy = load(folder)
    images = finished.task.test.images[:20]
    _, exits = net.infer(images.float(), policy)
    staged = StagedModel(folder / "tflite")
    taken = [staged.run(image)[1] for image in images.numpy()]
    assert (np.array(taken) == exits.numpy()).mean() >= 0.9


def _number(path):
    return int(path.stem.removeprefix("stage_"))
