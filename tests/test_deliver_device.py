"""What a delivered network's folder tells of a device; scores are made up, networks and costs are not."""

import json
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest

from offramp import build, cost, data, space
from offramp import deliver as module
from offramp.architecture import Architecture
from offramp.cost import backbone_alone, map_network
from offramp.deliver import costs_of, deliver
from offramp.metrics import on_device
from offramp.policy import Goal, Policy, ScoreTable, curve, operate, promised, tune
from offramp.recipe import Recipe
from offramp.spaces import Candidate

DEVICE, CLOCK = "quad-edge-tpu", 500
RECIPE = f'[hardware]\ndevice = "{DEVICE}"\nmapping = "{{mapping}}"\n[policy]\n{{goal}}\n'
ZNIBER = space("zniber", (3, 32, 32), 10, width=0.25, heads=["single"], bits=[(8, 8)])
SEARCHED = ZNIBER.largest().with_exits((2, 5, 8, 11))


def scores(strength: float, seed: int) -> ScoreTable:
    """Four exits, later ones better."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, 400)
    logits = rng.normal(size=(400, 4, 10)).astype(np.float32)
    logits[np.arange(400), :, labels] += strength * np.linspace(0.4, 1, 4)
    return ScoreTable(logits, labels)


SELECT, CALIBRATE, TEST = scores(4, 0), scores(3.7, 2), scores(3.5, 1)


@pytest.fixture
def delivered(monkeypatch, tmp_path):
    """Deliver with made-up scores; gives the metrics, the files are in `tmp_path`."""
    kept = []

    def keep_exits(net, exits):
        kept.append(tuple(exits))
        return keep(net, exits)

    def score(net, split):
        table = split
        for exits in kept:
            table = table.keep(exits)
        return table

    keep = module.keep_exits
    monkeypatch.setattr(module, "keep_exits", keep_exits)
    monkeypatch.setattr(module, "_trained", lambda architecture, *more: build(architecture, 0).eval())
    monkeypatch.setattr(module, "score", score)
    task = SimpleNamespace(
        select=SELECT,
        calibrate=CALIBRATE,
        test=TEST,
        notes=(),
        classes=tuple("abcdefghij"),
        splits=MappingProxyType({"test": range(400)}),
    )

    def start(goal, thresholds=None, mapping="none"):
        recipe = Recipe.parse(RECIPE.format(mapping=mapping, goal=goal))
        return deliver(Candidate(SEARCHED, thresholds), tmp_path, recipe, task, supernet=None, seed=0, export=False)

    return start


def test_the_promise_is_of_the_delivered_thresholds_on_the_images_kept_for_it(delivered, tmp_path):
    metrics = delivered("et_avg = 0.25")
    policy = Policy.from_json((tmp_path / "policy.json").read_text())
    stored = ScoreTable.load(tmp_path / "calibrate_scores.npz")
    kept = [SEARCHED.exits.index(position) for position in (e["position"] for e in metrics["exits"])]
    assert np.array_equal(stored.logits, CALIBRATE.keep(kept).logits)
    assert metrics["guarantee"] == promised(policy, stored)


def test_thresholds_are_set_on_select(delivered, tmp_path):
    metrics = delivered("mean_macs = 8e6\n[deliver]\ndrop_exits = false")
    assert len(metrics["exits"]) == 4
    assert np.array_equal(ScoreTable.load(tmp_path / "select_scores.npz").logits, SELECT.logits)
    costs, goal = cost(SEARCHED).leaving(), Goal.accuracy_at_cost(8e6)
    own = Policy.from_json((tmp_path / "policy.json").read_text())
    expected, *others = (tune(table, costs, goal, measures="max_probability") for table in (SELECT, CALIBRATE, TEST))
    assert own == expected.policy
    assert min(expected.operation.utilisation[:3]) > 0.05
    assert own not in [other.policy for other in others]


@pytest.mark.parametrize("rule", ["paper", "executed"])
def test_the_curve_is_tuned_by_the_rule_and_the_measure_of_the_policy(delivered, monkeypatch, rule):
    seen = []
    monkeypatch.setattr(module, "curve", lambda *given, **more: seen.append((given, more)) or curve(*given, **more))
    delivered(f'mean_macs = 8e6\nmac_rule = "{rule}"\nmeasures = ["margin"]\n[deliver]\ndrop_exits = false')
    (((table, costs), more),) = seen
    assert np.array_equal(table.logits, SELECT.logits)
    assert (tuple(costs), more) == (cost(SEARCHED).leaving("macs", rule), {"measures": "margin"})


def test_trainings_of_different_seeds_are_kept_apart(monkeypatch, tmp_path):
    kept = []
    monkeypatch.setattr(module, "train_either", lambda *_, checkpoint, **__: kept.append(checkpoint))
    task, recipe = data.task("digits", limit=100), Recipe.parse("[policy]\nmean_macs = 1e6")
    for seed in (0, 1, 0):
        module._trained(ZNIBER.smallest(), tmp_path / "a", recipe, task, None, seed, tmp_path)
    assert kept[0] == kept[2] != kept[1]


@pytest.mark.parametrize("goal, metric", [("et_avg = 0.25", "et_avg"), ("mean_latency_ms = 0.3", "mean_latency_ms")])
def test_a_second_curve_is_tuned_for_what_the_goal_names(delivered, tmp_path, goal, metric):
    metrics = delivered(goal)
    stored = json.loads((tmp_path / "device_curve.json").read_text())
    select, test = (ScoreTable.load(tmp_path / f"{split}_scores.npz") for split in ("select", "test"))
    costs = cost(Architecture.load(tmp_path / "architecture.json"), DEVICE)
    energy, latency = np.array(costs.leaving("energy_mj")), np.array(costs.leaving("latency_ms"))
    leaving = {
        "mean_macs": costs.leaving(), "mean_energy_mj": energy, "mean_latency_ms": latency,
        "et_avg": energy * latency * CLOCK,
    }  # fmt: skip
    assert stored["metric"] == metric
    tuned = curve(select, leaving[metric], measures="max_probability")
    assert [p["thresholds"] for p in stored["points"]] == [p.policy.to_dict()["thresholds"] for p in tuned]
    for points in (stored["points"], json.loads((tmp_path / "curve.json").read_text())):
        for point in points:
            policy = Policy.from_dict(point)
            for name, table in (("select", select), ("test", test)):
                for key, values in leaving.items():
                    found = operate(policy, table, values)
                    assert point[name][key] == pytest.approx(found.mean_cost)
                assert point[name]["accuracy"] == found.accuracy
    own = Policy.from_json((tmp_path / "policy.json").read_text())
    assert metrics["select"][metric] == pytest.approx(operate(own, select, leaving[metric]).mean_cost)


def test_the_second_curve_is_better_for_what_it_was_tuned_for(delivered, tmp_path):
    delivered("et_avg = 0.25")
    points = json.loads((tmp_path / "device_curve.json").read_text())["points"]
    gains = []
    for other in json.loads((tmp_path / "curve.json").read_text()):
        within = [p["select"]["accuracy"] for p in points if p["select"]["et_avg"] <= other["select"]["et_avg"] + 1e-9]
        gains.append(max(within) - other["select"]["accuracy"])
    assert min(gains) >= -0.003  # thinned to 200 points
    assert max(gains) > 0


def test_a_goal_about_macs_has_one_curve_with_the_devices_means(delivered, tmp_path):
    delivered("mean_macs = 9e6")
    assert not (tmp_path / "device_curve.json").exists()
    point = json.loads((tmp_path / "curve.json").read_text())[0]
    assert {"mean_macs", "mean_energy_mj", "mean_latency_ms", "et_avg"} <= point["test"].keys()


@pytest.mark.parametrize("mapping", ["none", "wait", "speculate"])
@pytest.mark.parametrize(
    "thresholds, kept", [((0.8, 0.8, 0.8), (2, 5, 8, 11)), ((0.8, 0.8, 0.0), (2, 5, 8)), ((0.8, 9, 0.0), (2, 8))]
)
def test_static_references_run_the_whole_searched_backbone(delivered, tmp_path, mapping, thresholds, kept):
    metrics = delivered(
        'measures = ["max_probability"]\net_avg = 0.3\nthresholds = "genes"\n[space]\nname = "zniber"',
        thresholds,
        mapping,
    )
    assert Architecture.load(tmp_path / "architecture.json").exits == kept
    alone, branched = SEARCHED.with_exits((11,)), SEARCHED.with_exits(tuple(sorted({*kept, 11})))
    if mapping == "none":
        found = [cost(a, DEVICE).total for a in (alone, branched)]
        expected = [(c.energy_mj, c.latency_ms, c.energy_mj * c.latency_ms * CLOCK) for c in found]
    else:
        expected = [backbone_alone(SEARCHED, DEVICE), map_network(branched, DEVICE, mapping).full_depth]
    assert metrics["static_exit"] == 11
    for name, (energy, latency, et) in zip(("static", "full"), expected, strict=True):
        assert metrics[f"{name}_energy_mj"] == pytest.approx(energy)
        assert metrics[f"{name}_latency_ms"] == pytest.approx(latency)
        assert metrics[f"{name}_et"] == pytest.approx(et)
    assert metrics["static_et"] < metrics["full_et"]


def test_a_network_with_one_exit_is_its_own_reference():
    alone = SEARCHED.with_exits((11,))
    recipe = Recipe.parse(RECIPE.format(mapping="wait", goal="et_avg = 1"))
    found = on_device(Policy("margin", ()), TEST.keep([3]), alone, alone, costs_of(recipe))
    assert found["et_avg"] == pytest.approx(found["static_et"]) == pytest.approx(found["full_et"])
    assert found["exit_et"] == [found["static_et"]]
