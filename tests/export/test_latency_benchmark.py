"""The benchmark runs, and its rows are those of the results format."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
from export_nets import CLASSES, random_images, spread_policy, tiny, trained_like

from offramp.export import export_onnx

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "exit_latency.py"


def test_rows(tmp_path, monkeypatch, capsys):
    net, images = trained_like(tiny(3)), random_images(tiny(3))
    model, data = tmp_path / "model.onnx", tmp_path / "images.npz"
    export_onnx(net, spread_policy(net, images, "entropy"), model, classes=CLASSES, images=images)
    (tmp_path / "architecture.json").write_text(tiny(3).to_json())
    np.savez(data, images=images.numpy().transpose(0, 2, 3, 1), labels=np.arange(40) % 10, classes=CLASSES)
    options = ["--images", str(data), "--repeats", "20", "--write", str(tmp_path / "found")]
    monkeypatch.syspath_prepend(SCRIPT.parent)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(model), *options])
    runpy.run_path(str(SCRIPT), run_name="__main__")

    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found) == {"what", "command", "hardware", "date", "commit", "mac_rule", "rows"}
    forced, own = ([row for row in found["rows"] if row["forced"] == kind] for kind in (True, False))
    assert [(row["exit"], row["n"]) for row in forced] == [(0, 20), (1, 20), (2, 20)]
    assert [row["exit"] for row in own] == [0, 1, 2, "mean"]
    assert sum(row["n"] for row in own[:-1]) == own[-1]["n"] == 40
    assert all(row["latency_ms"] > 0 and 0 < row["macs_share"] <= 1 for row in found["rows"])
    assert forced[2]["latency_share"] == forced[2]["macs_share"] == 1
    assert "latency_ms" in capsys.readouterr().out
