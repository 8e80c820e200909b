"""One network, many budgets: what is drawn beside what, and on which split."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from offramp.cost import cost
from offramp.data import Task
from offramp.policy import Policy, operate
from offramp.report._budgets import budgets_data, budgets_sentences
from offramp.report._files import Files
from offramp.report._front import front_data
from offramp.report._numbers import points


def test_a_curve_is_of_the_networks_own_scores_with_the_exits_that_each_point_keeps(files: Files) -> None:
    data = budgets_data(files)
    assert data is not None
    assert [curve["name"] for curve in data["curves"]] == ["best", "tiny"]
    network = files.chosen[0].first
    stored, drawn = network.subsets, data["curves"][0]
    assert stored is not None
    assert drawn["whole"]
    assert len({tuple(point["exits"]) for point in drawn["points"]}) > 1
    assert network.scores is not None
    for record, point in zip(stored, drawn["points"], strict=True):
        positions = tuple(network.architecture.exits[e] for e in record["exits"])
        leaving = cost(network.architecture.with_exits(positions)).leaving()
        found = operate(Policy.from_dict(record), network.scores.keep(record["exits"]), leaving)
        assert point["test"] == pytest.approx({"accuracy": found.accuracy, "mean_macs": found.mean_cost})
    selected = [(p["select"]["mean_macs"], p["select"]["accuracy"]) for p in drawn["points"]]
    assert (np.diff(selected, axis=0) > 0).all()


def test_no_point_with_every_exit_is_better_on_select(files: Files) -> None:
    network = files.chosen[0].first
    assert network.subsets is not None
    assert network.curve is not None
    for point in network.curve:
        if point["measure"] != network.metrics["measure"]:
            continue
        within = [
            p["select"]["accuracy"] for p in network.subsets if p["select"]["mean_macs"] <= point["select"]["mean_macs"]
        ]
        assert max(within) >= point["select"]["accuracy"] - 0.003  # the curve of all exits was searched longer


def test_the_searchs_front_is_beside_it_and_the_candidates_trained_longer(run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    front = json.loads((folder / "front.json").read_text())
    feasible = [t for t in front["trials"] if t["study"] == "search" and t["feasible"]]
    longer = [{**t, "study": "retrained", "metrics": {**t["metrics"], "accuracy": 0.991}} for t in feasible[:3]]
    front["trials"] += longer
    (folder / "front.json").write_text(json.dumps(front))
    files = Files.read(folder)
    data = budgets_data(files)
    assert data is not None
    assert [found["study"] for found in data["fronts"]] == ["search", "retrained"]
    best = {(t["metrics"]["accuracy"], t["metrics"]["mean_macs"]) for t in feasible if t["front"]}
    assert {(p["accuracy"], p["mean_macs"]) for p in data["fronts"][0]["points"]} == best
    cheapest = min(t["metrics"]["mean_macs"] for t in longer)
    assert data["fronts"][1]["points"] == [{"accuracy": 0.991, "mean_macs": cheapest}]  # the others are as accurate
    text = " ".join(budgets_sentences(files))
    assert "slices of the supernet, not trained further" in text
    assert "trained by the final schedule" in text
    drawn = front_data(files)
    assert drawn is not None
    assert {trial["study"] for trial in drawn["trials"]} == {"search", "random"}


def test_other_trained_networks_are_told_on_test_by_what_select_would_choose(files: Files) -> None:
    text = next(s for s in budgets_sentences(files) if ", best reaches on test" in s)
    network, tiny = files.chosen[0].first, files.chosen[1].first
    assert network.subsets is not None
    within = [p for p in network.subsets if p["test"]["mean_macs"] <= tiny.metrics["mean_macs"]]
    if within:
        own = max(within, key=lambda p: p["select"]["accuracy"])["test"]["accuracy"]
        gain = own - tiny.metrics["test_accuracy"]
        assert f"{points(gain, 2)} {'more' if gain > 0 else 'less'} than tiny (" in text
    assert "static-" in text


def test_a_folder_without_subsets_is_drawn_with_every_exit_and_said_to_be(run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "chosen" / "best" / "subsets.json").unlink()
    files = Files.read(folder)
    data = budgets_data(files)
    assert data is not None
    assert [curve["whole"] for curve in data["curves"]] == [False, True]
    assert len(data["curves"][0]["points"]) == len(files.chosen[0].first.curve or [])
    assert any("every exit kept: best (its folder has no subsets.json)" in s for s in budgets_sentences(files))


def test_without_an_early_exit_network_there_is_no_such_figure(run: Path, tmp_path: Path, digits: Task) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    for name in ("best", "best-seed1", "best-seed2", "tiny"):
        shutil.rmtree(folder / "chosen" / name)
    assert budgets_data(Files.read(folder)) is None


@pytest.mark.parametrize("missing", ["front.json", "chosen/tiny/curve.json"])
def test_what_is_missing_is_left_out(run: Path, tmp_path: Path, missing: str) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / missing).unlink()
    data = budgets_data(Files.read(folder))
    assert data is not None
    assert len(data["fronts"]) == (0 if missing == "front.json" else 1)
    assert len(data["curves"]) == 2
