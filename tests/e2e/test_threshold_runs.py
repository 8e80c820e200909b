"""Runs whose thresholds are genes, repaired, or of AEBNAS's grid, from the search to the delivered network."""

import json
from math import inf

import pytest

from offramp.cost import cost
from offramp.pipeline import Run
from offramp.policy import Policy
from offramp.recipe import Recipe

RECIPE = """
[data]
name = "digits"
limit = 256
[space]
name = "edanas"
width = 0.25
depths = [1]
kernels = [3]
expansions = [2, 3]
thresholds = [0.05, 0.1, 1.0]
[supernet]
epochs = 1
batch = 64
[policy]
measures = ["margin"]
mean_macs = 1e6
[search]
evaluations = 4
initial = 4
baseline = false
[train]
batch = 64
backbone_epochs = 0
joint_epochs = 1
[deliver]
budgets = [{ name = "best" }]
[export]
check_images = 20
"""


def carried_out(folder, way: str) -> tuple[Run, dict]:
    one = [] if way == "genes" else ["space.thresholds=[0.1, 1.0]"]
    run = Run.open(Recipe.parse(RECIPE, overrides=[f"policy.thresholds={way}", *one]), folder)
    run.carry_out()
    return run, json.loads((run.folder.chosen("best") / "metrics.json").read_text())


def test_genes_reach_the_delivered_network(tmp_path):
    run, metrics = carried_out(tmp_path, "genes")
    candidate = run.choice.of(run.study, None)[0].candidate
    thresholds = dict(zip(candidate.architecture.exits, candidate.thresholds or ()))
    kept = [record["position"] for record in metrics["exits"]]
    assert metrics["thresholds"] == "genes"
    assert [record["threshold"] for record in metrics["exits"]] == [*(thresholds[p] for p in kept[:-1]), None]
    assert sorted([*kept, *metrics["dropped_exits"]]) == list(candidate.architecture.exits)
    for trial in run.study.trials:
        own = Policy("margin", trial.candidate.thresholds or ())
        assert Policy.from_dict(trial.evaluation.extra["policy"]) == own


def test_repaired_thresholds_are_delivered(tmp_path):
    run, metrics = carried_out(tmp_path, "repair")
    assert metrics["thresholds"] == "repair"
    assert metrics["feasible"] == (metrics["select"]["mean_macs"] <= 1e6)
    for trial in run.study.trials:
        thresholds = trial.evaluation.extra["policy"]["thresholds"]
        assert trial.metrics["mean_macs"] <= 1e6
        assert all(threshold <= 0.8 for threshold in thresholds)


def test_the_papers_grid_is_scored_and_delivered(tmp_path):
    run, metrics = carried_out(tmp_path, "grid")
    assert metrics["thresholds"] == "grid"
    assert {record["threshold"] for record in metrics["exits"][:-1]} <= {0.1, 0.2}
    for trial in run.study.trials:
        architecture, extra = trial.candidate.architecture, trial.evaluation.extra
        thresholds = Policy.from_dict(extra["policy"]).thresholds
        assert set(thresholds) <= {0.1, 0.2, inf}
        kept = [position for position, t in zip(architecture.exits, (*thresholds, 0.0)) if t < inf]
        shares = [share for share, t in zip(extra["utilisation"], (*thresholds, 0.0)) if t < inf]
        # The network that is scored is the one that is left: no branch of a dropped exit is paid for.
        leaving = cost(architecture.with_exits(tuple(kept))).leaving()
        assert trial.metrics["mean_macs"] == pytest.approx(sum(s * c for s, c in zip(shares, leaving)))
        paid = sum(s * c for s, c in zip(extra["utilisation"], extra["exit_macs"]))
        assert trial.metrics["mean_macs"] == pytest.approx(paid)
        assert len(extra["exit_accuracy"]) == len(architecture.exits)
