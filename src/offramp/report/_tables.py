"""The page's tables: a caption that states split and MAC rule, a header, and rows of text."""

from __future__ import annotations

from typing import Any, NamedTuple

from offramp.cost import LayerCost
from offramp.report._delivered import Delivered
from offramp.report._files import Files
from offramp.report._labels import shape_label
from offramp.report._numbers import count, percent, si, size, threshold
from offramp.report._words import SPLITS, listed, mac_rule, measure

_ON_DEVICE = {"exit_energy_mj": "mJ up to here", "exit_latency_ms": "ms up to here", "exit_et": "ET up to here"}


class Table(NamedTuple):
    """`rows` hold as many texts as `header`; the first of each is the row's name; `words`: the last is text."""

    caption: str
    header: list[str]
    rows: list[list[str]]
    words: bool = False


def exit_table(network: Delivered) -> Table:
    """What every exit costs and does."""
    device = [key for key in _ON_DEVICE if key in network.metrics]
    rows = [
        [
            str(e),
            f"stage {record['position']}",
            threshold(record["threshold"]),
            percent(record["share"]),
            percent(record.get("accuracy_of_leavers")),
            percent(record["accuracy"], 2),
            percent(record.get("calibration_error")),
            si(record["branch_macs"]),
            si(record["macs"]),
            *(si(network.metrics[key][e]) for key in device),
        ]
        for e, record in enumerate(network.exits)
    ]
    header = ["exit", "after", f"leaves if {measure(network.policy.measure)} ≥", "share", "right of these"]
    header += [
        "right of all images",
        "calibration error",
        "branch MACs",
        "MACs up to here",
        *(_ON_DEVICE[key] for key in device),
    ]
    caption = f"{network.name}: exits. {_tested(network)} Counted from 0, as model.onnx does. {_more(network.metrics)}"
    return Table(caption.rstrip(), header, rows)


def network_table(files: Files) -> Table:
    """Every network delivered, each seed a row."""
    rows = [
        [
            member.name,
            "static" if member.is_static else f"{len(member.exits)} exits",
            str(member.metrics["seed"]),
            percent(member.metrics["test_accuracy"], 2),
            si(member.metrics["mean_macs"]),
            percent(member.metrics["static_accuracy"], 2),
            si(member.metrics["static_macs"]),
            si(member.metrics["params"]),
            size(member.metrics["weight_bytes"]),
            _seconds(member.metrics.get("train_seconds")),
        ]
        for group in (*files.chosen, *files.baselines)
        for member in group.members
    ]
    header = ["network", "kind", "seed", "test accuracy", "mean MACs", "last exit alone", "its MACs", "parameters"]
    header += ["weights", "training"]
    n = next((group.first.n for group in (*files.chosen, *files.baselines)), 0)
    caption = f"Networks delivered, one row per seed. Test split, n = {count(n)}; {mac_rule(files.mac_rule)}."
    return Table(caption, header, rows)


def cost_table(network: Delivered) -> Table:
    """MACs, parameters and memory of every stage and branch."""
    from offramp.layers import layers

    rows = []
    for i, found in enumerate(layers(network.architecture)):
        rows.append(_cost_row(f"stage {i}", shape_label(found.backbone[-1].shape_out), network.costs.stages[i]))
        branch = network.costs.branches[i]
        if branch is not None:
            number = network.architecture.exits.index(i)
            rows.append(_cost_row(f"branch of exit {number}", f"{network.architecture.classes} classes", branch))
    rows.append(_cost_row("everything", "", network.costs.total))
    caption = (
        f"{network.name}: costs per stage and exit branch, by arithmetic from the architecture, one image, no split. "
        "MACs are those of each part run once, the same under every MAC rule; memory is the most that is alive at once."
    )
    return Table(caption, ["part", "output", "MACs", "parameters", "weights", "peak activations"], rows)


def split_table(files: Files) -> Table:
    """The four splits and what they were used for."""
    rows = [[name, count(n), SPLITS.get(name, "")] for name, n in files.splits.items()]
    caption = f"Disjoint splits. Mean MACs on this page are counted by the {mac_rule(files.mac_rule)}."
    return Table(caption, ["split", "n", "use"], rows, words=True)


def _tested(network: Delivered) -> str:
    return f"Test split, n = {count(network.n)}; {mac_rule(network.metrics['mac_rule'])}."


def _more(metrics: dict[str, Any]) -> str:
    """Both MAC rules, calibration and what was dropped; folders of earlier versions do not tell."""
    found = []
    if "mean_macs_by_rule" in metrics:
        means = [f"{si(macs)} by the {rule} rule" for rule, macs in metrics["mean_macs_by_rule"].items()]
        found.append(f"Mean MACs: {listed(means)}.")
    if "calibration_error" in metrics:
        error = percent(metrics["calibration_error"])
        found.append(f"Expected calibration error (15 bins) at the exits where images leave: {error}.")
    if dropped := metrics.get("dropped_exits"):
        stages = listed([str(position) for position in dropped])
        found.append(f"Dropped behind stage {stages}: on select, thresholds are better without, or nobody left there.")
    return " ".join(found)


def _cost_row(name: str, output: str, cost: LayerCost) -> list[str]:
    return [name, output, si(cost.macs), si(cost.params), size(cost.weight_bytes), size(cost.activation_bytes)]


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
