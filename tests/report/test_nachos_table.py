"""The columns of benchmarks/nachos_table.py."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ROW = {
    "name": "nachos", "network": "nachos", "seed": 0, "split": "test", "n": 9980, "accuracy": 0.41,
    "mean_macs_paper": 2.5e6, "mean_macs_executed": 2.9e6, "calibration_error": 0.05, "final_exit_macs": 6e6,
    "final_exit_accuracy": 0.45, "exit_calibration_error": [0.1, 0.2],
}  # fmt: skip


@pytest.fixture
def printed(monkeypatch, tmp_path, capsys):
    """What it prints of one network, for a data set."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import nachos_table

    def call(data: str) -> str:
        path = tmp_path / "rows.json"
        path.write_text(json.dumps({"rows": [ROW]}))
        monkeypatch.setattr(sys, "argv", ["nachos_table.py", "--results", str(path), "--data", data])
        nachos_table.main()
        return capsys.readouterr().out

    return call


def test_a_set_that_the_paper_lacks_has_our_figures_only(printed):
    paper, ours = (
        dict(line.split("|") for line in printed(data).splitlines()[3:13]) for data in ("cifar10", "cifar100")
    )
    assert "72.65" in "".join(paper)
    assert {label.split("  ")[0]: label.split()[-2:] for label in ours}["NACHOS"] == ["-", "-"]
    assert not any(character.isdigit() for label in ours for character in label.replace("ResNet-20", ""))
    (line,) = (line for label, line in ours.items() if label.startswith("NACHOS  "))
    assert line.split() == ["41.00", "2.50", "2.90", "5.00", "1"]
