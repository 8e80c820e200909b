"""Other thresholds of a delivered network."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from made_up import five_exits
from offramp.cli import app
from offramp.operating_point import guaranteed_point, operating_point, promise
from offramp.policy import Policy, ScoreTable, guaranteed, operate, promised

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


@pytest.fixture
def promising(folder):
    """The same network, with images kept for guarantees and a curve."""
    table = five_exits()
    table.rows(np.arange(100, 300)).save(folder / "calibrate_scores.npz")
    points = [Policy("margin", (t,) * 4).to_dict() for t in np.linspace(0.02, 0.98, 25)]
    (folder / "curve.json").write_text(json.dumps(points))
    (folder / "policy.json").write_text(Policy("margin", (0.5,) * 4).to_json())
    return folder


def test_a_promise_is_kept_by_the_cheapest_thresholds_that_hold(promising):
    select, calibrate = (ScoreTable.load(promising / f"{name}_scores.npz") for name in ("select", "calibrate"))
    found = guaranteed_point(promising, lost=0.1, confidence=0.9)
    policies = [Policy("margin", (t,) * 4) for t in np.linspace(0.02, 0.98, 25)]
    wanted = guaranteed(
        [*policies, Policy("margin", (np.inf,) * 4)], select, calibrate, MACS, loss="lost", most=0.1, confidence=0.9
    )
    assert Policy.from_dict(found) == wanted
    assert found["calibrate"]["lost"] < 0.1
    assert found["calibrate"]["n"] == 200
    assert found["metric"] == "mean_macs"
    exact = guaranteed_point(promising, accuracy=1 - 1e-9)
    assert exact["thresholds"] is None


def test_of_a_device_s_curve_where_there_is_one(promising):
    written(promising, MACS, exit_latency_ms=[1, 2, 3, 4, 5])
    points = json.loads((promising / "curve.json").read_text())[:10]
    (promising / "device_curve.json").write_text(json.dumps({"metric": "mean_latency_ms", "points": points}))
    found = guaranteed_point(promising, lost=0.2, confidence=0.9)
    assert found["metric"] == "mean_latency_ms"
    assert 1 <= found["test"]["mean_latency_ms"] <= 5


def test_what_the_delivered_thresholds_promise(promising):
    calibrate = ScoreTable.load(promising / "calibrate_scores.npz")
    assert promise(promising, 0.8) == promised(Policy("margin", (0.5,) * 4), calibrate, 0.8)


def guarantee(*arguments):
    return CliRunner().invoke(app, ["guarantee", *map(str, arguments)])


def test_the_command_promises(promising):
    text = guarantee(promising).stdout
    held = promise(promising)
    assert f"at most {held['error_at_most']:.2%} are answered wrongly" in text
    assert f"at most {held['lost_at_most']:.2%} are answered wrongly where" in text
    assert json.loads(guarantee(promising, "--json").stdout) == held
    found = guaranteed_point(promising, lost=0.1)
    told = guarantee(promising, "--lost", 0.1).stdout
    assert "at most 10.00% lost, with 0.95 confidence" in told
    shown = told.splitlines()[-1].removeprefix("offramp predict ... --thresholds ")
    assert [float(t) for t in shown.split(",")] == pytest.approx(list(map(float, found["thresholds"])), rel=1e-8)
    assert json.loads(guarantee(promising, "--lost", 0.1, "--json").stdout) == found
    none = guarantee(promising, "--accuracy", 0.999)
    assert none.exit_code == 0
    assert "No thresholds promise accuracy >= 99.90% with 0.95 confidence" in none.stdout


@pytest.mark.parametrize(
    "options, message",
    [
        (["--lost", "0.1", "--accuracy", "0.9"], "give one of them"),
        (["--lost", "0"], "--lost is 0; it must lie between 0 and 1"),
        (["--confidence", "1"], "--confidence is 1; it must lie between 0 and 1"),
    ],
)
def test_promises_that_cannot_be_made_are_named(promising, options, message):
    done = guarantee(promising, *options)
    assert isinstance(done.exception, ValueError)
    assert message in str(done.exception)


def test_a_folder_without_calibrate_scores_is_named(folder):
    (folder / "policy.json").write_text(Policy("margin", (0.5,) * 4).to_json())
    with pytest.raises(FileNotFoundError, match=r"calibrate_scores\.npz is not there.*by an earlier version"):
        promise(folder)


def test_an_accuracy_is_promised_of_all_errors_not_only_of_those_lost(promising):
    select, calibrate = (ScoreTable.load(promising / f"{name}_scores.npz") for name in ("select", "calibrate"))
    policies = [Policy("margin", (t,) * 4) for t in [*np.linspace(0.02, 0.98, 25), np.inf]]
    found = guaranteed_point(promising, accuracy=0.7, confidence=0.9)
    most = {"most": 1 - 0.7, "confidence": 0.9}
    assert Policy.from_dict(found) == guaranteed(policies, select, calibrate, MACS, loss="error", **most)
    assert Policy.from_dict(found) != guaranteed(policies, select, calibrate, MACS, loss="lost", **most)
    assert found["calibrate"]["error"] == pytest.approx(1 - found["calibrate"]["accuracy"])
    assert found["calibrate"]["accuracy"] > 0.7
