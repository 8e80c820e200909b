"""A run on a device, small: digits at 3 x 32 x 32, so that the layers are those of the table that comes along."""

import json

import numpy as np
import pytest
from large_digits import large_digits
from typer.testing import CliRunner

from offramp import cost
from offramp.architecture import Architecture
from offramp.cli import app
from offramp.deliver import load
from offramp.pipeline import Run
from offramp.policy import Policy, ScoreTable
from offramp.recipe import Recipe
from offramp.report._files import Files
from offramp.report._front import front_data

CLOCK = 500  # MHz
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
exits = [0, 2, 4]
heads = ["single"]
thresholds = [0.9]
[supernet]
epochs = 1
batch = 32
variants = 0
[hardware]
device = "quad-edge-tpu"
[policy]
et_avg = 0.3
[search]
objectives = ["error", "et_avg", "mean_latency_ms"]
constraints = ["mean_energy_mj <= 0.15", "dynamic_efficiency <= 1", "exit_overhead_mj <= 0"]
predict = "shares"
evaluations = 12
initial = 10
batch = 2
images = 40
statistics_images = 32
baseline = false
[train]
batch = 32
backbone_epochs = 0
joint_epochs = 1
quantized_epochs = 1
[deliver]
budgets = [{{ name = "frugal", mean_energy_mj = 0.01 }}]
static_backbone = true
[export]
check_images = 20
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("device")
    run = Run.open(Recipe.parse(RECIPE.format(root=large_digits(folder))), folder / "run")
    run.carry_out()
    return run


def test_trials_are_charged_by_the_device_and_where_their_samples_left(finished):
    front = json.loads(finished.folder.front.read_text())
    assert front["device"] == "quad-edge-tpu"
    assert len(front["trials"]) == 12
    for trial in front["trials"]:
        architecture, metrics, left = Architecture(**trial["architecture"]), trial["metrics"], trial["utilisation"]
        costs = cost(architecture, "quad-edge-tpu")
        energy, latency = costs.leaving("energy_mj"), costs.leaving("latency_ms")
        assert metrics["mean_energy_mj"] == pytest.approx(np.dot(left, energy))
        assert metrics["mean_latency_ms"] == pytest.approx(np.dot(left, latency))
        assert metrics["et_avg"] == pytest.approx(np.dot(left, np.multiply(energy, latency)) * CLOCK)
        assert metrics["dynamic_efficiency"] == pytest.approx(np.dot(left, energy) / energy[-1])
        assert metrics["exit_overhead_mj"] == 0
        assert metrics["weight_bytes"] == costs.weight_bytes
        assert metrics["activation_bytes"] == costs.activation_bytes


def test_the_whole_backbone_is_trained_beside_at_the_same_bits(finished):
    folder = finished.folder.chosen("frugal")
    static = Architecture.load(finished.folder.chosen("static-backbone-frugal") / "architecture.json")
    assert static.exits == (11,)
    assert static.precision == Architecture.load(folder / "architecture.json").precision
    beside = folder.parent / "static-backbone-frugal"
    metrics, beside = (json.loads((f / "metrics.json").read_text()) for f in (folder, beside))
    assert beside["kind"] == "static"
    assert beside["et_avg"] == pytest.approx(metrics["static_et"])


def test_thresholds_keep_the_bound_on_energy_times_latency(finished):
    early = [trial for trial in finished.study.trials if len(trial.candidate.architecture.exits) > 1]
    assert early
    full = [finished.costs.leaving(trial.candidate.architecture)["et_avg"][-1] for trial in early]
    assert max(full) > 0.3
    assert all(trial.metrics["et_avg"] <= 0.3 for trial in early)


def test_the_log_tells_what_was_predicted_and_how_well(finished):
    lines = map(json.loads, finished.folder.log_file.read_text().splitlines())
    (batch,) = [line for line in lines if line["event"] == "surrogates"]
    assert "from" not in batch["surrogates"]["error"]
    for metric in ("et_avg", "mean_latency_ms", "mean_energy_mj"):
        assert batch["surrogates"][metric]["from"] == "shares"
        assert -1 <= batch["surrogates"][metric]["tau_newest"] <= 1


def test_the_delivered_network_s_costs_are_those_of_the_test_split(finished):
    folder = finished.folder.chosen("frugal")
    metrics = json.loads((folder / "metrics.json").read_text())
    net, policy = load(folder)
    left = policy.decide(ScoreTable.load(folder / "test_scores.npz"))
    costs = cost(net.architecture, "quad-edge-tpu")
    energy, latency = (np.array(costs.leaving(metric)) for metric in ("energy_mj", "latency_ms"))
    assert metrics["device"] == "quad-edge-tpu"
    assert metrics["energy_mj"] == pytest.approx(energy[left].mean())
    assert metrics["latency_ms"] == pytest.approx(latency[left].mean())
    assert metrics["et_avg"] == pytest.approx((energy * latency)[left].mean() * CLOCK)
    assert metrics["et_of_means"] == pytest.approx(energy[left].mean() * latency[left].mean() * CLOCK)
    # The whole backbone, also where nobody left at the last exit and it was dropped.
    backbone = finished.space.largest().with_exits((11,)).model_copy(update={"precision": net.architecture.precision})
    alone = cost(backbone, "quad-edge-tpu")
    assert metrics["static_energy_mj"] == pytest.approx(alone.total.energy_mj)
    assert metrics["static_latency_ms"] == pytest.approx(alone.total.latency_ms)
    stored = json.loads((folder / "device_curve.json").read_text())
    assert stored["metric"] == "et_avg"
    select, first = ScoreTable.load(folder / "select_scores.npz"), stored["points"][0]
    left = Policy.from_dict(first).decide(select)
    assert first["select"]["et_avg"] == pytest.approx((energy * latency)[left].mean() * CLOCK)


def test_the_report_shows_the_delivered_network_on_every_axis(finished):
    data = front_data(Files.read(finished.folder.root))
    axes = {axis["name"] for axis in data["axes"]}
    assert {"et_avg", "mean_energy_mj", "mean_latency_ms", "dynamic_efficiency"} <= axes
    assert all(axes <= set(point["metrics"]) for point in (*data["delivered"], *data["trials"]))


def test_the_budget_chooses_among_trials_by_energy(finished):
    architecture = Architecture.load(finished.folder.chosen("frugal") / "architecture.json")
    within = [t for t in finished.study.trials if t.feasible and t.metrics["mean_energy_mj"] <= 0.01]
    best = min(within, key=lambda t: (t.metrics["error"], t.metrics["et_avg"], t.metrics["mean_latency_ms"]))
    chosen = best.candidate.architecture
    assert chosen.with_exits(architecture.exits) == architecture


def test_the_command_line_shows_what_was_measured_on_the_device(finished, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = CliRunner().invoke(app, ["front", str(finished.folder.root)])
    assert shown.exit_code == 0
    assert all(head in shown.output for head in ("mean mJ", "mean ms", "ET_avg"))
    metrics = json.loads((finished.folder.chosen("frugal") / "metrics.json").read_text())
    again = CliRunner().invoke(app, ["run", str(finished.folder.recipe), "--out", str(finished.folder.root)])
    assert again.exit_code == 0, again.output
    assert "on quad-edge-tpu" in again.output
    assert f"{metrics['energy_mj']:.4g}" in again.output
