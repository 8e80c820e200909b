"""A run for milliseconds on a measured device."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from offramp import cost
from offramp.architecture import Architecture
from offramp.cost import analytic, words_of
from offramp.layers import layers
from offramp.pipeline import Run
from offramp.policy import ScoreTable
from offramp.recipe import Recipe, RecipeError
from offramp.report import comparisons
from offramp.spaces import space

TINY = Path(__file__).with_name("tiny.toml")
BUDGET = 0.02


def device_file(folder, leave_out=0):
    """Layers take a microsecond, and one more for every 2,000 MACs; an exit takes five."""
    found = space("offramp", (1, 8, 8), 10, **Recipe.load(TINY).space.options)
    networks = [found.largest(), found.smallest(), *found.cover(), *map(found.sample, range(200))]
    every = [layer for a in networks for stage in layers(a) for layer in (*stage.backbone, *stage.branch)]
    times = {words_of(layer): (1 + analytic(layer).macs / 2000) / 1000 for layer in every}
    kept = dict(list(times.items())[: len(times) - leave_out])
    path = folder / "phone.toml"
    path.write_text(tomli_w.dumps({"name": "phone", "about": "made up", "exit_ms": 0.005, "layers": kept}))
    return path


def recipe(path, *overrides, budget=BUDGET):
    asked = [
        f'hardware.device="{path}"', "policy.mean_macs=1e9", 'search.objectives=["error", "mean_latency_ms"]',
        "search.constraints=[]", "deliver.static_macs=[]", *overrides,
    ]  # fmt: skip
    budgets = [f'deliver.budgets=[{{ name = "fast", mean_latency_ms = {budget} }}]']
    return Recipe.load(TINY, [*asked, *budgets], files=True)


def test_a_network_is_chosen_and_told_by_its_milliseconds(tmp_path):
    path = device_file(tmp_path)
    run = Run.open(recipe(path, "deliver.static_budget=true"), tmp_path / "run")
    run.carry_out()
    folder = run.folder.chosen("fast")
    metrics = json.loads((folder / "metrics.json").read_text())
    architecture = Architecture.load(folder / "architecture.json")
    leaving = cost(architecture, str(path)).leaving("latency_ms")
    assert metrics["exit_latency_ms"] == pytest.approx(leaving)
    assert metrics["latency_ms"] == pytest.approx(np.dot(metrics["utilisation"], leaving))
    assert metrics["device"] == str(path)
    assert "energy_mj" not in metrics
    assert metrics["select"]["mean_latency_ms"] <= BUDGET
    assert len(ScoreTable.load(folder / "test_scores.npz").labels) == metrics["splits"]["test"]
    for trial in json.loads(run.folder.front.read_text())["trials"]:
        told = cost(Architecture(**trial["architecture"]), str(path)).leaving("latency_ms")
        assert trial["metrics"]["mean_latency_ms"] == pytest.approx(np.dot(trial["utilisation"], told))
    assert "mean latency" in run.folder.report.read_text()
    static = json.loads((run.folder.chosen("static-budget-fast") / "metrics.json").read_text())
    assert len(static["exits"]) == 1
    assert 0 < static["latency_ms"] <= BUDGET


def test_the_end_compares_milliseconds_with_those_of_static_networks(tmp_path):
    """Not MACs: by those, a network may look cheaper that is slower."""
    asked = recipe(device_file(tmp_path), "deliver.static_macs=[4e4]", "search.baseline=false", budget=1)
    run = Run.open(asked, tmp_path / "run")
    run.carry_out()
    (told,) = comparisons(run.folder.root)
    (static,) = [name for name in run.folder.delivered() if name.name.startswith("static-")]
    full = json.loads((static / "metrics.json").read_text())["latency_ms"]
    reached = re.search(rf"as accurate as {static.name} \(.*latency is (\S+)\sms, .* than that one's \((\S+)\)", told)
    assert reached
    assert float(reached[2]) == pytest.approx(full, rel=0.02)
    assert "MACs" not in told


def test_layers_that_are_missing_are_told_before_anything_is_trained(tmp_path):
    run = Run.open(recipe(device_file(tmp_path, leave_out=40)), tmp_path / "run")
    with pytest.raises(LookupError, match="was not measured on phone"):
        run.carry_out()
    assert not run.folder.begun


def test_a_run_does_not_go_on_with_other_times(tmp_path):
    path = device_file(tmp_path)
    run = Run.open(recipe(path), tmp_path / "run")
    run.folder.data.write_text("{}")  # it has begun
    stored = tomllib.loads(path.read_text())
    path.write_text(tomli_w.dumps(stored | {"layers": stored["layers"] | {"conv 9x9x9 > 9x9x9": 1.0}}))
    Run.open(recipe(path), tmp_path / "run")  # a layer more is no matter
    path.write_text(tomli_w.dumps(stored | {"exit_ms": 0.25}))
    with pytest.raises(RecipeError, match=r"other times of phone(?s:.*)exit_ms: 0.005 then, 0.25 now"):
        Run.open(recipe(path), tmp_path / "run")


def test_networks_of_few_bits_are_refused_by_the_recipe(tmp_path):
    with pytest.raises(RecipeError, match=r"space.bits: \[\[8, 8\]\] .* was measured in float"):
        recipe(device_file(tmp_path), "space.bits=[[8, 8]]")


def test_energy_and_mapping_are_not_to_be_had(tmp_path):
    path = device_file(tmp_path)
    with pytest.raises(RecipeError, match=r"needs energies, which .*phone\.toml does not tell; it has mean_latency_ms"):
        recipe(path, 'search.constraints=["mean_energy_mj <= 1"]')
    with pytest.raises((RecipeError, ValueError), match="no cores to map to"):
        Run.open(recipe(path, "hardware.mapping=wait"), tmp_path / "run").carry_out()
