"""What the page says of a device is what the files say, and names what it is compared with."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from offramp.report import comparisons, write_report
from offramp.report._delivered import Group
from offramp.report._device import device_sentences, device_table, npu_table
from offramp.report._files import Files
from offramp.report._headline import headline
from offramp.report._tables import exit_table

MEASURED = {
    "device": "quad-edge-tpu", "mapping": "speculate", "energy_mj": 0.0123, "latency_ms": 0.0456, "et_avg": 0.21,
    "et_of_means": 0.28, "static_exit": 11, "static_energy_mj": 0.02, "static_latency_ms": 0.05, "static_et": 0.5,
    "full_energy_mj": 0.03, "full_latency_ms": 0.06, "full_et": 0.9, "exit_overhead_mj": 0.0011,
    "dynamic_efficiency": 0.41,
}  # fmt: skip
NPU = {
    "device": "ethos-u55-128", "mapping": "none", "latency_ms": 1.25, "static_exit": 2, "static_latency_ms": 2.0,
    "exit_latency_ms": [1.0, 2.5], "stage_latency_ms": [0.9, 0.4, 1.0], "branch_latency_ms": [0.1, None, 0.1],
    "stage_weight_bytes": [2_000.0, 3_000.0, 40_000.0], "stage_activation_bytes": [36_864.0, 18_000.0, 9_000.0],
    "npu_weight_bytes": 45_000.0, "npu_activation_bytes": 36_864.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def device_files(device_run: Path) -> Files:
    return Files.read(device_run)


def with_metrics(group: Group, metrics: dict[str, Any], *dropped: str) -> Group:
    """The group as if it had one member, measured so."""
    kept = {key: value for key, value in (group.first.metrics | metrics).items() if key not in dropped}
    return replace(group, members=(replace(group.first, metrics=kept),))


def plain(texts: list[str]) -> str:
    return " ".join(texts).replace("\N{NO-BREAK SPACE}", " ")


def test_the_mean_et_is_told_against_both_references_by_their_names(device_files: Files) -> None:
    group = with_metrics(device_files.chosen[0], MEASURED)
    assert plain(device_sentences(group, [])) == (
        "On quad-edge-tpu (all cores, branches beside the next stage where that is better): ET 0.21 J x cycles on "
        "average, 58 % less than the backbone alone, to its final exit (0.5) and 77 % less than full depth with every "
        "branch (0.9). "
        "Its accuracy is 95.54 % then, that of its last exit at every image 96.10 %."
    )
    dearer = plain(device_sentences(with_metrics(group, {"static_et": 0.2}), []))
    assert "5 % more than the backbone alone" in dearer


def test_an_older_folder_s_reference_is_called_what_it_was(device_files: Files) -> None:
    older = with_metrics(device_files.chosen[0], MEASURED, "static_exit", "full_et")
    found = plain(device_sentences(older, []))
    assert "58 % less than its own last exit alone (0.5)." in found
    assert "backbone alone" not in found
    table = device_table(older.first)
    assert table is not None
    assert [row[0] for row in table.rows][2:] == ["its own last exit alone"]


def test_several_seeds_are_averaged_and_said_to_be(device_run: Path, device_files: Files) -> None:
    stored = [json.loads((device_run / f"chosen/frugal{s}/metrics.json").read_text()) for s in ("", "-seed1")]
    et, static = mean(m["et_avg"] for m in stored), stored[0]["static_et"]
    found = device_sentences(device_files.chosen[0], [])[0].replace("\N{NO-BREAK SPACE}", " ")
    numbers = [float(n) for n in re.findall(r"ET ([\d.]+) J|, ([\d]+) % less", found)[0] if n]
    assert numbers == [pytest.approx(et, abs=5e-4)]
    assert "on average over 2 trainings" in found
    assert f", {100 * (1 - et / static):.0f} % less than the backbone alone" in found


def test_et_for_a_static_networks_accuracy_needs_the_same_bits(device_run: Path, device_files: Files) -> None:
    sentences = device_sentences(device_files.chosen[0], device_files.baselines)
    assert len(sentences) == 2  # of the static network at 8/8, not of that at 8/4
    statics = [json.loads((device_run / f"chosen/static-8{s}/metrics.json").read_text()) for s in ("", "-seed1")]
    accuracy, full = mean(m["select"]["accuracy"] for m in statics), statics[0]["et_avg"]
    needed = []
    for suffix in ("", "-seed1"):
        folder = device_run / f"chosen/frugal{suffix}"
        points = json.loads((folder / "device_curve.json").read_text())["points"]
        enough = [p for p in points if p["select"]["accuracy"] >= accuracy]
        needed.append(min(enough, key=lambda p: p["select"]["et_avg"])["test"])
    found = sentences[1].replace("\N{NO-BREAK SPACE}", " ")
    told = re.search(r"static-8 .* ET is ([\d.]+) J x cycles, (\d+) % less than that one's \(([\d.]+)\), and", found)
    assert told is not None
    assert float(told[1]) == pytest.approx(mean(p["et_avg"] for p in needed), rel=5e-3)
    assert f"accuracy {100 * mean(p['accuracy'] for p in needed):.2f}" in found
    assert int(told[2]) == pytest.approx(100 * (1 - float(told[1]) / full), abs=0.6)
    assert float(told[3]) == pytest.approx(full, rel=5e-3)
    perfect = with_metrics(device_files.baselines[0], {"test_accuracy": 1.0, "select": {"accuracy": 1.01}})
    unreached = device_sentences(device_files.chosen[0], [perfect])[1]
    assert unreached.startswith("No thresholds make each training as accurate on select as static-8 (100.00")
    assert "flatters" in unreached


def test_on_a_device_the_end_of_a_run_compares_there(device_run: Path, device_files: Files) -> None:
    (said,) = comparisons(device_run)
    assert said == "frugal: " + " ".join(device_sentences(device_files.chosen[0], device_files.baselines))


def test_the_devices_table_has_both_definitions_and_both_references(device_files: Files) -> None:
    table = device_table(with_metrics(device_files.chosen[0], MEASURED).first)
    assert table is not None
    assert table.header == ["", "energy, mJ", "latency, ms", "ET, J x cycles"]
    assert [row[1:] for row in table.rows] == [
        ["0.0123", "0.0456", "0.21"], ["0.0123", "0.0456", "0.28"], ["0.02", "0.05", "0.5"], ["0.03", "0.06", "0.9"]
    ]  # fmt: skip
    caption = plain([table.caption])
    assert "0.0011 mJ is exit overhead" in caption
    assert "41.0 % of the energy" in caption
    assert "n = 359" in caption


def test_the_table_of_exits_has_what_leaving_there_costs(files: Files, device_files: Files) -> None:
    network = device_files.chosen[0].first
    table = exit_table(network)
    assert table.header[-3:] == ["mJ up to here", "ms up to here", "ET up to here"]
    clock = 500  # MHz
    for e, row in enumerate(table.rows):
        energy, latency, et = map(float, row[-3:])
        assert energy == pytest.approx(network.metrics["exit_energy_mj"][e], rel=5e-3)
        assert energy * latency * clock == pytest.approx(et, rel=0.02)
    assert exit_table(files.chosen[0].first).header[-1] == "MACs up to here"


def test_an_npus_stages_are_listed_with_time_and_memory(device_files: Files) -> None:
    energies = [key for key in device_files.chosen[0].first.metrics if "energy" in key or "et" in key.split("_")]
    group = with_metrics(device_files.chosen[0], NPU, *energies)
    found = plain(device_sentences(group, device_files.baselines))
    assert found == (
        "On ethos-u55-128: latency 1.25 ms on average, 38 % less than the backbone alone, to its final exit (2). "
        "Its accuracy is 95.54 % then, that of its last exit at every image 96.10 %."
    )
    assert device_table(group.first) is None
    table = npu_table(group.first)
    assert table is not None
    assert [[plain([text]) for text in row] for row in table.rows] == [
        ["stage 0", "0.9", "0.1", "2.00 kB", "36.9 kB"],
        ["stage 1", "0.4", "–", "3.00 kB", "18.0 kB"],
        ["stage 2", "1", "0.1", "40.0 kB", "9.00 kB"],
        ["everything", "2.3", "0.2", "45.0 kB", "36.9 kB"],
    ]
    older = with_metrics(group, {}, "branch_latency_ms", "stage_weight_bytes", "stage_activation_bytes")
    rows = npu_table(older.first)
    assert rows is not None
    assert rows.rows[0] == ["stage 0", "0.9", "–", "–", "–"]


def test_the_page_has_the_section_and_without_a_device_it_has_not(
    device_run: Path, device_files: Files, run: Path, tmp_path: Path
) -> None:
    html = write_report(shutil.copytree(device_run, tmp_path / "device"), None).read_text()
    assert "<h2>On quad-edge-tpu</h2>" in html
    first, *_ = device_sentences(device_files.chosen[0], device_files.baselines)
    assert first in headline(device_files).sentences
    assert html.index("<h2>On quad-edge-tpu</h2>") < html.rindex(first) < html.index("ET, J x cycles</th>")
    html = write_report(shutil.copytree(run, tmp_path / "run"), None).read_text()
    assert "<h2>On " not in html.replace("<h2>On select", "").replace("<h2>One", "")
    assert device_sentences(Files.read(run).chosen[0], []) == []
