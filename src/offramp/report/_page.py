"""The page: everything put into one file that loads nothing."""

from __future__ import annotations

import gzip
from base64 import b64encode
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from offramp.report import _numbers
from offramp.report._budgets import budgets_data, budgets_sentences
from offramp.report._curve import curve_data, curve_sentence, device_curve_data
from offramp.report._delivered import Group
from offramp.report._device import device_sentences, device_table, npu_table
from offramp.report._drawing import drawing
from offramp.report._files import Files
from offramp.report._front import failures, front_data, front_sentences, start
from offramp.report._headline import budget_kept, headline, own_saving, static_saving, tiles
from offramp.report._labels import KEY
from offramp.report._samples import sample_sentence, samples
from offramp.report._tables import cost_table, exit_table, network_table, split_table
from offramp.report._utilisation import leavers
from offramp.report._words import MEASURES, TERMS, mac_rule, measure, metric
from offramp.run_folder import RunFolder, write_text

if TYPE_CHECKING:
    from offramp.data import Task

_SCRIPTS = ("plotly.js", "dom.js", "theme.js", "panel.js", "front.js", "budgets.js", "curve.js", "tabs.js")


def write_report(folder: str | Path, task: Task | None = None) -> Path:
    """Write `report.html` into the folder of a run, whole or not at all; gives its path.

    What the run does not have yet is told in a sentence in its place. Without `task` there are no sample images.

    Raises:
        ValueError: `front.json` is damaged; the message names it.
    """
    path = RunFolder(folder).report
    write_text(path, render(Files.read(Path(folder)), task))
    return path


def render(files: Files, task: Task | None = None) -> str:
    """The page's HTML: styles, scripts, plotly.js, pictures and data are all inside."""
    front = front_data(files)
    networks = [_network(group, files, task) for group in files.chosen]
    budgets = budgets_data(files)
    figures = front is not None or budgets is not None or any(network["curve"] for network in networks)
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            files=files,
            headline=headline(files),
            front_sentences=front_sentences(files),
            budgets_sentences=budgets_sentences(files),
            failures=failures(files),
            networks=networks,
            tables=[network_table(files)] if networks or files.baselines else [],
            splits=split_table(files) if files.splits else None,
            notes=[*(files.front["task"].get("notes", []) if files.front else []), *files.left_out],
            data={
                "front": front,
                "start": start(front) if front else None,
                "budgets": budgets,
                "curves": [n["curve"] for n in networks],
                "device_curves": [n["device"]["curve"] for n in networks],
                "measures": MEASURES,
            },
            key=KEY,
            terms=TERMS,
            plotly=_plotly() if figures else "",
            style=_asset("style.css"),
            scripts=[_asset(name) for name in _SCRIPTS],
        )
    )


def _network(group: Group, files: Files, task: Task | None) -> dict[str, Any]:
    first = group.first
    return {
        "name": group.name,
        "first": first,
        "seeds": group.seeds,
        "tiles": tiles(group),
        "savings": [budget_kept(group, files), own_saving(group, files), static_saving(group, files.baselines)],
        "drawing": drawing(first),
        "curve": curve_data(first, files.baselines),
        "curve_sentence": curve_sentence(first),
        "leavers": leavers(first),
        "samples": samples(first, task),
        "sample_sentence": sample_sentence(first, task),
        "device": {
            "name": first.metrics.get("device", ""),
            "sentences": device_sentences(group, files.baselines),
            "curve": device_curve_data(first, files.baselines),
            "tables": [table for table in (device_table(first), npu_table(first)) if table],
        },
        "tables": [exit_table(first), cost_table(first)],
    }


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("offramp.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":"), "ensure_ascii": True}
    for name in ("percent", "si", "count"):
        made.filters[name] = getattr(_numbers, name)
    made.filters |= {"mac_rule": mac_rule, "measure": measure, "metric": metric}
    return made


@cache
def _asset(name: str) -> Markup:
    return Markup(package_files("offramp.report").joinpath("assets", name).read_text(encoding="utf-8"))


@cache
def _plotly() -> Markup:
    """Plotly's own script, as its package ships it: gzip, in base 64."""
    from plotly.offline import get_plotlyjs

    return Markup(b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode())
