"""The scripts that gather figures: benchmarks/collect.py and benchmarks/nachos_table.py."""

import json
import runpy
import sys
from pathlib import Path
from shutil import copytree, rmtree
from statistics import mean, stdev

import numpy as np
import pytest

from offramp.architecture import Architecture
from offramp.cost import cost
from offramp.policy import Policy, ScoreTable, operate
from offramp.run_folder import RunFolder

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def finished(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, with a log."""
    folder = copytree(run, tmp_path_factory.mktemp("with-log") / "mine")
    RunFolder(folder).log("search", seconds=12.5)
    return folder


@pytest.fixture(scope="module")
def single(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, as one that delivered for a single budget."""
    folder = copytree(finished, tmp_path_factory.mktemp("single") / "mine")
    rmtree(folder / "chosen" / "tiny")
    return folder


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def start(name: str, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name="__main__")

    return start


def collect(script, run: Path, results: Path, *more: object) -> dict:
    script("collect", run, "gathered", "--results", results, *more)
    return json.loads((results / "gathered.json").read_text())


def names(found: dict) -> list[str]:
    return list(dict.fromkeys(row["name"] for row in found["rows"]))


def test_one_run_makes_a_file(script, finished, tmp_path):
    found = collect(script, finished, tmp_path, "--note", "busy")
    searches = ["one-shot search", "one-shot random"]
    trained = [name for name in names(found) if "as accurate" not in name]
    assert trained == ["best", "static-0.10M", "static-0.25M", "tiny", *searches]
    assert found["what"].startswith("networks trained by recipes/gathered.toml")
    assert (found["note"], found["step_seconds"]) == ("busy", [{"event": "search", "seconds": 12.5}])


def test_searches_of_further_seeds_stand_beside_the_runs_own(script, finished, tmp_path):
    """By one reference point: the other seed's worst trial is dearer, so that its own run alone would give more."""
    other = copytree(finished, tmp_path / "other")
    (other / "recipe.toml").write_text("seed = 4\n")
    rmtree(other / "chosen")
    front = json.loads((other / "front.json").read_text())
    for trial in front["trials"]:
        if trial["metrics"]:
            trial["metrics"] |= {key: value * 2 for key, value in trial["metrics"].items() if key == "mean_macs"}
    (other / "front.json").write_text(json.dumps(front))
    alone = {r["name"]: r for r in collect(script, finished, tmp_path)["rows"] if "one-shot" in r["name"]}
    found = collect(script, finished, tmp_path, "--searches", other)
    rows = [row for row in found["rows"] if "one-shot" in row["name"]]
    assert [(row["name"], row["seed"]) for row in rows] == [
        (f"one-shot {study}", seed) for study in ("search", "random") for seed in (0, 4)
    ]
    for row in rows:
        assert row["accuracy"] == alone[row["name"]]["accuracy"]
        assert row["mean_macs"] == alone[row["name"]]["mean_macs"] * (1 if row["seed"] == 0 else 2)
        if row["seed"] == 0:
            assert row["hypervolume"] > alone[row["name"]]["hypervolume"]
    assert len(found["rows"]) == len(collect(script, finished, tmp_path)["rows"]) + 2


def test_rows_tell_both_mac_rules_and_calibration_of_the_files(script, finished, tmp_path):
    folder = finished / "chosen" / "best"
    metrics = json.loads((folder / "metrics.json").read_text())
    row = next(row for row in collect(script, finished, tmp_path)["rows"] if row["network"] == "best")
    policy, table = Policy.from_json((folder / "policy.json").read_text()), ScoreTable.load(folder / "test_scores.npz")
    for rule in ("executed", "paper"):
        gamma = cost(Architecture.load(folder / "architecture.json")).leaving("macs", rule)
        assert row[f"exit_macs_{rule}"] == list(gamma)
        assert row[f"mean_macs_{rule}"] == pytest.approx(operate(policy, table, gamma).mean_cost)
    assert row["calibration_error"] == metrics["calibration_error"]
    assert row["exit_calibration_error"] == [e["calibration_error"] for e in metrics["exits"]]


def test_what_is_saved_at_a_static_networks_accuracy(script, finished, tmp_path, capsys):
    rows = collect(script, finished, tmp_path)["rows"]
    static = next(row for row in rows if row["name"] == "static-0.10M")
    saved = [row for row in rows if row["name"] == "best as accurate as static-0.10M"]
    assert [row["seed"] for row in saved] == [0, 1, 2]
    for row in saved:
        points = json.loads((finished / "chosen" / row["of"] / "curve.json").read_text())
        enough = [p for p in points if p["select"]["accuracy"] >= static["select_accuracy"]]
        cheapest = min(enough, key=lambda p: p["select"]["mean_macs"])["test"]
        assert (row["accuracy"], row["mean_macs"]) == (cheapest["accuracy"], cheapest["mean_macs"])
        assert row["saving"] == pytest.approx(1 - row["mean_macs"] / static["mean_macs"])
        assert row["static_accuracy"] == static["accuracy"]
    assert "best as accurate as static-0.10M" in capsys.readouterr().out


@pytest.fixture(scope="module")
def on_device(device_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on a device, with a log."""
    folder = copytree(device_run, tmp_path_factory.mktemp("device-with-log") / "mine")
    RunFolder(folder).log("search", seconds=12.5)
    return folder


def test_rows_tell_the_bits_and_the_device(script, finished, on_device, tmp_path):
    rows = {row["network"]: row for row in collect(script, on_device, tmp_path)["rows"] if "network" in row}
    assert {name: row["bits"] for name, row in rows.items() if "seed" not in name} == {
        "frugal": "8/8", "static-8": "8/8", "static-8-4": "8/4"
    }  # fmt: skip
    for name, row in rows.items():
        metrics = json.loads((on_device / "chosen" / name / "metrics.json").read_text())
        assert (row["device"], row["mapping"]) == ("quad-edge-tpu", "wait")
        for key in ("energy_mj", "latency_ms", "et_avg", "et_of_means", "static_et", "full_et", "dynamic_efficiency"):
            assert row[key] == metrics[key]
        assert row["exit_overhead_mj"] == 0
    assert rows["static-8"]["et_avg"] == pytest.approx(rows["frugal"]["static_et"])
    row = collect(script, finished, tmp_path)["rows"][0]
    assert row["bits"] == "float"
    assert not {"device", "et_avg", "static_et"} & row.keys()


def test_the_cut_of_et_is_against_the_static_network_of_the_same_bits(script, on_device, tmp_path, capsys):
    rows = collect(script, on_device, tmp_path)["rows"]
    statics = [row for row in rows if row["name"] == "static-8"]
    accuracy, static_et = (mean(row[key] for row in statics) for key in ("select_accuracy", "et_avg"))
    cuts = [row for row in rows if row["name"] == "frugal as accurate as static-8"]
    assert [row["of"] for row in cuts] == ["frugal", "frugal-seed1"]
    for row in cuts:
        points = json.loads((on_device / "chosen" / row["of"] / "device_curve.json").read_text())["points"]
        enough = [p for p in points if p["select"]["accuracy"] >= accuracy]
        cheapest = min(enough, key=lambda p: p["select"]["et_avg"])["test"]
        assert (row["et_accuracy"], row["et_avg"]) == (cheapest["accuracy"], cheapest["et_avg"])
        assert row["static_et"] == pytest.approx(static_et)
        assert row["et_cut"] == pytest.approx(1 - row["et_avg"] / static_et)
        assert (row["static_seeds"], row["bits"], row["tuned_for"]) == (2, "8/8", "et_avg")
        assert 0 < row["et_cut"] < 1
    others = [row for row in rows if row["name"] == "frugal as accurate as static-8-4"]
    assert len(others) == 2
    assert not any("et_cut" in row for row in others)
    cut = 1 - mean(row["et_avg"] for row in cuts) / static_et
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(cuts[0]["name"]))
    assert f"J x cycles, {cut:.1%} less" in line


def test_an_accuracy_that_is_not_reached_gives_no_cut(script, on_device, tmp_path):
    folder = copytree(on_device, tmp_path / "mine")
    for name in ("static-8", "static-8-seed1"):
        path = folder / "chosen" / name / "metrics.json"
        metrics = json.loads(path.read_text())
        path.write_text(json.dumps(metrics | {"select": metrics["select"] | {"accuracy": 1.0}}))
    rows = collect(script, folder, tmp_path)["rows"]
    row = next(row for row in rows if row["name"] == "frugal as accurate as static-8")
    assert (row["et_avg"], row["et_cut"], row["saving"]) == (None, None, None)
    (folder / "chosen" / "frugal" / "device_curve.json").unlink()  # as in folders of earlier versions
    rows = collect(script, folder, tmp_path)["rows"]
    assert "et_cut" not in next(row for row in rows if row["name"] == "frugal as accurate as static-8")


def test_thresholds_of_the_search_are_told_beside_tuned_ones(script, on_device, tmp_path):
    folder = copytree(on_device, tmp_path / "mine")
    chosen = folder / "chosen" / "frugal"
    metrics = json.loads((chosen / "metrics.json").read_text())
    assert not any("tuned" in name for name in names(collect(script, folder, tmp_path)))
    (chosen / "metrics.json").write_text(json.dumps(metrics | {"thresholds": "genes"}))
    rows = {row["name"]: row for row in collect(script, folder, tmp_path)["rows"] if " tuned, " in row["name"]}
    assert list(rows) == ["frugal tuned, at equal cost", "frugal tuned, as accurate"]
    points = json.loads((chosen / "device_curve.json").read_text())["points"]
    cheap = [p for p in points if p["select"]["et_avg"] <= metrics["select"]["et_avg"]]
    good = [p for p in points if p["select"]["accuracy"] >= metrics["select"]["accuracy"]]
    wanted = {
        "frugal tuned, at equal cost": max(cheap, key=lambda p: p["select"]["accuracy"]),
        "frugal tuned, as accurate": min(good, key=lambda p: p["select"]["et_avg"]),
    }
    for name, point in wanted.items():
        assert {key: rows[name][key] for key in ("accuracy", "et_avg")}.items() <= point["test"].items()
        assert (rows[name]["of"], rows[name]["bits"], rows[name]["split"]) == ("frugal", "8/8", "test")
    (chosen / "device_curve.json").unlink()
    assert not any("tuned" in name for name in names(collect(script, folder, tmp_path)))


def test_the_searchs_best_has_its_et_and_runs_of_several_bits_share_a_file(script, on_device, tmp_path):
    first = collect(script, on_device, tmp_path, "--name", "8/8")
    row = next(row for row in first["rows"] if row["name"] == "8/8 one-shot search")
    assert (row["et_avg"], row["device"]) == (1.3, "quad-edge-tpu")  # the more accurate one's
    both = collect(script, on_device, tmp_path, "--name", "8/4")
    assert [row for row in both["rows"] if row["name"].startswith("8/8")] == first["rows"]
    assert len(both["rows"]) == 2 * len(first["rows"])
    assert {row["name"] for row in both["rows"] if "et_cut" in row} == {
        "8/8 frugal as accurate as static-8", "8/4 frugal as accurate as static-8"
    }  # fmt: skip


def test_networks_of_several_budgets_are_not_seeds_of_one(script, finished, tmp_path):
    found = collect(script, finished, tmp_path, "--name", "nachos")
    networks = {row["network"]: row["name"] for row in found["rows"] if "network" in row}
    assert (networks["best"], networks["best-seed1"], networks["tiny"]) == ("nachos best", "nachos best", "nachos tiny")
    again = collect(script, finished, tmp_path, "--name", "nachos")
    assert again["rows"] == found["rows"]
    with pytest.raises(SystemExit, match="best, tiny"):
        script("nachos_table", f"nachos={finished}")


def test_runs_go_to_one_file_by_name_and_are_replaced_there(script, single, tmp_path):
    first = collect(script, single, tmp_path, "--name", "no-peak", "--note", "first")
    mine = ["no-peak", "no-peak static-0.10M", "no-peak static-0.25M"]
    mine += [f"no-peak best as accurate as static-{macs}M" for macs in ("0.10", "0.25")]
    assert names(first) == [*mine, "no-peak one-shot search", "no-peak one-shot random"]
    assert {row["network"] for row in first["rows"] if row["name"] == "no-peak"} == {
        "best", "best-seed1", "best-seed2"
    }  # fmt: skip
    # A name that another one begins with is another name.
    both = collect(script, single, tmp_path, "--name", "no", "--recipe", "other")
    assert len(both["rows"]) == 2 * len(first["rows"])
    assert list(both["runs"]) == ["no-peak", "no"]
    assert "offramp run recipes/mine.toml" in both["runs"]["no-peak"]["command"]
    assert "offramp run recipes/other.toml" in both["command"]
    again = collect(script, single, tmp_path, "--name", "no", "--note", "again")
    assert len(again["rows"]) == len(both["rows"])
    assert [again["runs"][name]["note"] for name in ("no-peak", "no")] == ["first", "again"]
    assert [row for row in again["rows"] if row["name"].startswith("no-peak")] == first["rows"]


def test_a_file_of_one_run_is_not_written_over(script, finished, tmp_path):
    before = collect(script, finished, tmp_path)
    with pytest.raises(SystemExit, match="about one run"):
        collect(script, finished, tmp_path, "--name", "nachos")
    assert json.loads((tmp_path / "gathered.json").read_text()) == before


def test_the_papers_table_is_printed_without_any_run_of_ours(script, tmp_path, capsys):
    (tmp_path / "none.json").write_text(json.dumps({"rows": []}))
    script("nachos_table", "--results", tmp_path / "none.json")
    lines = capsys.readouterr().out.splitlines()
    nachos = next(line for line in lines if line.startswith("NACHOS  "))
    assert nachos.split("|")[0].split() == ["NACHOS", "2.44", "72.65", "±", "0.49"]
    assert sum("not run" in line for line in lines) == 10
    script("nachos_table", "--results", tmp_path / "none.json", "--data", "svhn")
    assert "1.46   79.96 ± 0.84" in capsys.readouterr().out


def test_ours_stand_beside_it_from_a_file_or_a_folder(script, single, tmp_path, capsys):
    found = collect(script, single, tmp_path, "--name", "nachos")
    group = [row for row in found["rows"] if row["name"] == "nachos"]
    accuracies = [100 * row["accuracy"] for row in group]
    expected = f"{mean(accuracies):.2f} ± {stdev(accuracies):.2f}"
    macs = [f"{mean(row[f'mean_macs_{rule}'] for row in group) / 1e6:.2f}" for rule in ("paper", "executed")]
    error = f"{100 * mean(row['calibration_error'] for row in group):.2f}"
    shares = " ".join(f"{100 * share:8.2f}" for share in group[0]["utilisation"])
    capsys.readouterr()
    for arguments in (["--results", tmp_path / "gathered.json"], [f"nachos={single}"]):
        script("nachos_table", *arguments)
        text = capsys.readouterr().out
        ours = next(line for line in text.splitlines() if line.startswith("NACHOS  ")).split("|")[1]
        assert ours.split() == [*expected.split(), *macs, error, "3"]
        assert f"utilisation %              {shares}" in text
        alone = next(line for line in text.splitlines() if line.startswith("NACHOS backbone")).split("|")[1]
        assert alone.split()[0] == f"{100 * mean(row['final_exit_accuracy'] for row in group):.2f}"
        assert "no L_peak" in text


def test_a_name_that_the_table_lacks_is_refused(script, finished, capsys):
    with pytest.raises(SystemExit):
        script("nachos_table", f"ours={finished}")
    assert "with one of nachos, edanas" in capsys.readouterr().err


def test_a_network_is_told_against_its_own_final_exit(script, on_device, tmp_path):
    folder = copytree(on_device, tmp_path / "mine")
    chosen = folder / "chosen" / "frugal"
    metrics = json.loads((chosen / "metrics.json").read_text())
    points = json.loads((chosen / "device_curve.json").read_text())["points"]
    own = {"select": metrics["select"], "test": {"accuracy": metrics["test_accuracy"], "et_avg": metrics["et_avg"]}}
    test = ScoreTable.load(chosen / "test_scores.npz")
    reached = ScoreTable(test.logits, (test.labels + (np.arange(test.samples) % 2)) % test.logits.shape[-1])
    for table, found in ((test, False), (reached, True)):
        table.save(chosen / "select_scores.npz")
        (row,) = [r for r in collect(script, folder, tmp_path)["rows"] if r["name"].endswith("its final exit")]
        assert (row["static_accuracy"], row["static_et"]) == (metrics["static_accuracy"], metrics["static_et"])
        enough = [p for p in (*points, own) if p["select"]["accuracy"] >= table.exit_accuracy[-1]]
        assert bool(enough) == found
        if found:
            cheapest = min(enough, key=lambda p: p["select"]["et_avg"])["test"]
            assert (row["accuracy"], row["et_avg"]) == (cheapest["accuracy"], cheapest["et_avg"])
            assert row["et_cut"] == pytest.approx(1 - row["et_avg"] / metrics["static_et"])
        else:
            assert (row["accuracy"], row["et_avg"], row["et_cut"]) == (None, None, None)
