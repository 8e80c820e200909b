"""Other thresholds of a delivered network."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from made_up import five_exits
from offramp.cli import app
from offramp.operating_point import operating_point
from offramp.policy import Policy, ScoreTable, operate

MACS = [1e4, 2e4, 4e4, 5e4, 9e4]


@pytest.fixture
def folder(tmp_path):
    """A delivered network of five exits that was tuned for nothing."""
    chosen = tmp_path / "run" / "chosen" / "small"
    chosen.mkdir(parents=True)
    table, half = five_exits(), 150
    table.rows(np.arange(half)).save(chosen / "select_scores.npz")
    table.rows(np.arange(half, 300)).save(chosen / "test_scores.npz")
    written(chosen, MACS)
    return chosen


def written(folder, macs, **more):
    exits = [{"macs": cost} for cost in macs]
    (folder / "metrics.json").write_text(
        json.dumps({"exits": exits, "measure": "margin", "mac_rule": "executed", **more})
    )


def test_no_other_shared_threshold_is_better_and_both_splits_are_told(folder):
    found = operating_point(folder, "mean_macs", 4e4)
    assert found["feasible"]
    policy = Policy("margin", tuple(map(float, found["thresholds"])))
    for split in ("select", "test"):
        table = ScoreTable.load(folder / f"{split}_scores.npz")
        told = operate(policy, table, MACS)
        assert found[split] == {
            "n": 150, "accuracy": told.accuracy, "mean_macs": told.mean_cost, "utilisation": list(told.utilisation)
        }  # fmt: skip
    select = ScoreTable.load(folder / "select_scores.npz")
    shared = [operate(Policy("margin", (t,) * 4), select, MACS) for t in np.linspace(0, 1, 101)]
    assert found["select"]["mean_macs"] <= 4e4
    assert found["select"]["accuracy"] >= max(o.accuracy for o in shared if o.mean_cost <= 4e4)
    cheapest = operating_point(folder, "mean_macs", accuracy=0.8)
    assert cheapest["select"]["accuracy"] >= 0.8
    assert cheapest["select"]["mean_macs"] <= min(o.mean_cost for o in shared if o.accuracy >= 0.8)


def test_another_cost_is_that_of_the_device(folder):
    energy = [5.0, 4.0, 3.0, 2.0, 1.0]
    written(folder, MACS, exit_energy_mj=energy)
    found = operating_point(folder, "mean_energy_mj", 1.5)
    assert found["select"]["mean_energy_mj"] <= 1.5
    assert found["select"]["utilisation"][-1] > 0.5


def said(*arguments):
    done = CliRunner().invoke(app, ["tune", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_tells_what_predict_takes(folder):
    found = json.loads(said(folder, "--mean-macs", 4e4, "--json"))
    text = said(folder, "--mean-macs", 4e4)
    shown = text.splitlines()[-1].removeprefix("offramp predict ... --thresholds ")
    assert [float(t) for t in shown.split(",")] == pytest.approx([float(t) for t in found["thresholds"]], rel=1e-8)
    assert f"{found['test']['accuracy']:.2%}" in text
    assert "come nearest" not in text
    assert "No thresholds reach mean_macs <= 5000 on select" in said(folder, "--mean-macs", 5e3)


@pytest.mark.parametrize(
    "options, message",
    [
        ([], "give one of --mean-macs, --mean-energy-mj, --mean-latency-ms, --et-avg, --accuracy"),
        (["--mean-macs", "4e4", "--accuracy", "0.9"], "give one of"),
        (["--et-avg", "1"], "was delivered without et_avg"),
    ],
)
def test_what_cannot_be_asked_for_is_named(folder, options, message):
    done = CliRunner().invoke(app, ["tune", str(folder), *options])
    assert isinstance(done.exception, ValueError)
    assert message in str(done.exception)


def test_one_exit_has_no_thresholds(folder):
    written(folder, MACS[:1])
    with pytest.raises(ValueError, match="a network of one exit, which has no thresholds"):
        operating_point(folder, "mean_macs", 1e4)
