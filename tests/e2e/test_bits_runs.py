"""Runs at few bits, small, of spaces that are in float unless a recipe says otherwise: on a device and on an NPU."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from large_digits import large_digits

from offramp import cost
from offramp.architecture import Architecture, Precision
from offramp.deliver import load
from offramp.export import Model
from offramp.nn.quantize import rounds
from offramp.pipeline import Run
from offramp.policy import ScoreTable
from offramp.recipe import Recipe

SHARED = Path(__file__).with_name("bits.toml")
EIGHT = Precision(backbone_weights=8, backbone_activations=8, branch_weights=8, branch_activations=8)
VELA = pytest.param(
    "ethos-u55-128", marks=pytest.mark.skipif(find_spec("ethosu") is None, reason="ethos-u-vela is not installed")
)


@pytest.fixture(scope="module", params=["quad-edge-tpu", VELA])
def finished(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bits")
    overrides = [f"data.root={json.dumps(str(large_digits(folder)))}", f"hardware.device={request.param}"]
    run = Run.open(Recipe.load(SHARED, overrides, files=True), folder / "run")
    run.carry_out()
    return run


def test_every_candidate_has_the_bits_and_costs_what_they_cost(finished):
    trials = json.loads(finished.folder.front.read_text())["trials"]
    assert len(trials) == 6
    assert "bits" not in [gene.name for gene in finished.space.genes]
    for trial in trials:
        architecture = Architecture(**trial["architecture"])
        assert architecture.precision == EIGHT
        costs = cost(architecture, finished.costs.device)
        left = trial["utilisation"]
        assert trial["metrics"]["mean_latency_ms"] == pytest.approx(np.dot(left, costs.leaving("latency_ms")))
        plain = cost(architecture)  # one byte for each weight; of activations a byte each too
        assert plain.total.weight_bytes < 1.2 * plain.total.params


def test_the_delivered_network_rounds_and_its_file_says_what_it_says(finished):
    folder = finished.folder.chosen("fast")
    metrics = json.loads((folder / "metrics.json").read_text())
    net, policy = load(folder)
    assert net.architecture.precision == EIGHT
    assert rounds(net)
    assert metrics["test_accuracy"] > 0.3  # by chance 0.1
    images = finished.task.test.images[:40]
    _, exits = net.infer(images.float(), policy)
    model = Model(folder / "model.onnx")
    assert np.mean([model.run(image)[1] == e for image, e in zip(images.numpy(), exits.tolist())]) >= 0.95
    integers = {t.data_type for t in onnx.load(folder / "model.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in integers
    assert metrics["onnx"]["top1_agreement"] >= 0.95


def test_latencies_are_the_device_s_at_these_bits(finished):
    folder, device = finished.folder.chosen("fast"), finished.costs.device
    metrics = json.loads((folder / "metrics.json").read_text())
    net, policy = load(folder)
    left = policy.decide(ScoreTable.load(folder / "test_scores.npz"))
    files = None
    if finished.costs.npu:
        count = len(net.architecture.stages)
        files = [(folder / "tflite" / f"stage_{i}.tflite").read_bytes() for i in range(count)]
    costs = cost(net.architecture, device, files)
    assert metrics["latency_ms"] == pytest.approx(np.array(costs.leaving("latency_ms"))[left].mean())
    if not finished.costs.npu:
        plain = net.architecture.model_copy(update={"precision": Precision()})
        assert metrics["exit_energy_mj"][-1] < 0.5 * cost(plain, device).leaving("energy_mj")[-1]
