"""The page as a file: complete in itself, escaped, and written whatever is missing."""

import base64
import gzip
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from run_folders import digits_space, front_record, sampled_trials, trial, write_chosen

from offramp.data import Task
from offramp.report import write_report
from offramp.report._words import TERMS

NASTY = '</script><script>alert("x")</script>'
VOID = {"meta", "link", "img", "input", "br", "hr", "rect", "circle", "path"}


class Reader(HTMLParser):
    """Collects what a page would load, its own scripts and its text; checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "srcset", "action", "poster") and value:
                self.loads.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.scripts if self.open and self.open[-1] == "script" else self.texts).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text())
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "copy")


def edit_front(folder: Path, change: Callable[[dict], None]) -> None:
    front = json.loads((folder / "front.json").read_text())
    change(front)
    (folder / "front.json").write_text(json.dumps(front))


def test_the_page_loads_nothing(copy: Path, digits: Task) -> None:
    path = write_report(copy, digits)
    assert path == copy / "report.html"
    page = read(path)
    assert page.loads
    assert all(value.startswith("data:") for value in page.loads)
    style = re.search(r"<style>(.*?)</style>", path.read_text(), re.S)
    assert style is not None
    assert not re.search(r"@import|url\(", style[1])
    own = [script for script in page.scripts if not script.startswith("H4sI")]  # gzip in base 64
    assert len(own) == 2
    for script in own:
        assert not re.search(r"https?://|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(|new Worker", script)
    assert "default-src 'none'" in path.read_text()
    assert path.read_text().count('id="plotly"') == 1


def test_writing_leaves_no_other_file(copy: Path) -> None:
    before = set(copy.rglob("*"))
    write_report(copy, None)
    assert set(copy.rglob("*")) - before == {copy / "report.html"}


def test_every_section_is_there(copy: Path, digits: Task) -> None:
    text = read(write_report(copy, digits)).text
    headings = (
        "The front",
        "The network “best”",
        "Accuracy against cost",
        "Where images leave",
        "Images that left at each",
    )
    assert [heading for heading in headings if heading not in text] == []


def test_the_embedded_data_is_the_runs(copy: Path) -> None:
    html = write_report(copy, None).read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert found is not None
    data = json.loads(found[1])
    stored = json.loads((copy / "front.json").read_text())
    assert [t["metrics"] for t in data["front"]["trials"]] == [t["metrics"] for t in stored["trials"] if t["metrics"]]
    assert len(data["curves"]) == 2


def test_nasty_names_are_escaped(copy: Path, digits: Task) -> None:
    def spoil(front: dict) -> None:
        front["task"]["name"] = front["task"]["notes"] = NASTY
        front["task"]["notes"] = [NASTY]
        front["trials"][0]["failure"] = NASTY
        front["trials"][1]["proposer"] = NASTY

    edit_front(copy, spoil)
    path = write_report(copy, replace(digits, classes=(NASTY, *digits.classes[1:])))
    page = read(path)
    assert 'alert("x")</script>' not in path.read_text()
    assert page.text.count(NASTY) >= 3
    assert len(page.scripts) == 3


def test_without_a_task_there_are_no_images(copy: Path) -> None:
    page = read(write_report(copy, None))
    assert "the data was not at hand" in page.text
    assert not any(value.startswith("data:image") for value in page.loads)


def test_another_test_split_gives_no_images(copy: Path, digits: Task) -> None:
    other = replace(digits, test=digits.calibrate)
    assert "another test split" in read(write_report(copy, other)).text


def test_an_empty_folder(tmp_path: Path) -> None:
    page = read(write_report(tmp_path, None))
    assert "front.json is not there yet" in page.text
    assert "No network was delivered yet" in page.text
    assert (tmp_path / "report.html").stat().st_size < 100_000  # no figure, no plotly


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("curve.json", "no curve.json"),
        ("test_scores.npz", "no test_scores.npz"),
        ("architecture.json", "chosen/best is left out"),
        ("metrics.json", "The network “best-seed1”"),
    ],
)
def test_a_missing_file_is_told(copy: Path, digits: Task, name: str, sentence: str) -> None:
    (copy / "chosen/best" / name).unlink()
    assert sentence in read(write_report(copy, digits)).text


def test_a_damaged_network_is_left_out(copy: Path) -> None:
    (copy / "chosen/tiny/policy.json").write_text("{")
    page = read(write_report(copy, None))
    assert "chosen/tiny is left out" in page.text
    assert "The network “best”" in page.text


def test_a_damaged_front_is_named(copy: Path) -> None:
    (copy / "front.json").write_text('{"trials": [')
    with pytest.raises(ValueError, match=r"front\.json is damaged"):
        write_report(copy, None)


def test_nothing_delivered(copy: Path) -> None:
    shutil.rmtree(copy / "chosen")
    page = read(write_report(copy, None))
    assert "No network was delivered yet" in page.text
    assert "training the chosen networks has not" in page.text


def test_no_random_search(copy: Path) -> None:
    edit_front(copy, lambda front: front.update(trials=[t for t in front["trials"] if t["study"] == "search"]))
    assert "Random search was not run" in read(write_report(copy, None)).text


def test_nothing_feasible(copy: Path) -> None:
    shutil.rmtree(copy / "chosen")
    edit_front(copy, lambda front: [t.update(feasible=False, front=False) for t in front["trials"]] and None)
    text = read(write_report(copy, None)).text
    assert "No trial kept all constraints" in text
    assert "loosen a constraint" in text


def test_every_trial_failed(tmp_path: Path, digits: Task) -> None:
    trials = [trial("search", i, digits_space().sample(i), digits, 0.9, failed=True) for i in range(3)]
    (tmp_path / "front.json").write_text(json.dumps(front_record(digits, trials)))
    text = read(write_report(tmp_path, digits)).text
    assert "No trial succeeded" in text
    assert "3 failed trials" in text


def test_one_exit_only(tmp_path: Path, digits: Task) -> None:
    static = digits_space().smallest()
    write_chosen(tmp_path, digits, "best", static)
    (tmp_path / "front.json").write_text(json.dumps(front_record(digits, sampled_trials(digits, "search", 3, 0))))
    text = read(write_report(tmp_path, digits)).text
    assert "one exit, so it has no thresholds and no curve" in text
    assert "never stops early" in text
    assert "Exit 0" in text


def test_an_exit_that_nobody_takes(tmp_path: Path, digits: Task) -> None:
    write_chosen(tmp_path, digits, "best", digits_space().largest())
    folder = tmp_path / "chosen/best"
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["utilisation"] = [0.0, metrics["utilisation"][0] + metrics["utilisation"][1], *metrics["utilisation"][2:]]
    metrics["exits"][0] |= {"share": 0.0, "accuracy_of_leavers": None, "threshold": "inf"}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    text = read(write_report(tmp_path, digits)).text
    assert "nobody leaves here" in text
    assert "∞: nobody leaves" in text


def test_importing_the_room_is_light() -> None:
    import subprocess
    import sys

    code = "import sys, offramp.report; sys.exit(int('torch' in sys.modules or 'plotly' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_page_is_small_enough_to_send(copy: Path, digits: Task) -> None:
    path = write_report(copy, digits)
    assert path.stat().st_size < 2_800_000  # plotly alone, as text, has 4.8 MB
    packed = re.search(r'<script type="application/gzip" id="plotly">([^<]+)<', path.read_text())
    assert packed is not None
    assert b"Plotly" in gzip.decompress(base64.b64decode(packed[1]))


def test_terms_are_explained(copy: Path, digits: Task) -> None:
    text = read(write_report(copy, digits)).text
    assert all(f"{term} {meaning}" in text for term, meaning in TERMS.items())
