"""The answer, first: what was delivered, how good it is, and what it saves."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from math import isclose
from pathlib import Path
from typing import NamedTuple

from offramp.report._delivered import Group
from offramp.report._device import device_sentences
from offramp.report._files import Files
from offramp.report._numbers import (
    change,
    count,
    interval,
    less,
    percent,
    points,
    quantity,
    si,
    signed_points,
    size,
)
from offramp.report._words import MEAN_COSTS, listed, mac_rule, one_exit
from offramp.run_folder import RunFolder

_CLOSE = 0.005
"""Accuracies further apart than this are not compared without saying by how much."""
_EQUAL = 0.005
"""Numbers of MACs nearer to each other than this, in shares, are told as equal."""


class Tile(NamedTuple):
    """One figure of the row under the title."""

    label: str
    value: str
    note: str = ""


class Headline(NamedTuple):
    """The title, the sentences under it, and the row of figures."""

    title: str
    sentences: list[str]
    tiles: list[Tile]


def headline(files: Files) -> Headline:
    """The headline of the first budget, or a plain sentence where no network was delivered yet."""
    if not files.chosen:
        return Headline("No network was delivered yet", [_unfinished(files)], [])
    group = files.chosen[0]
    accuracy, macs = group.spread("test_accuracy"), group.spread("mean_macs")
    title = f"{group.name}: {accuracy.percent()} test accuracy at {macs.si()} mean MACs"
    sentences = [_sample(group, files), budget_kept(group, files), own_saving(group, files), promise(group)]
    sentences += [static_saving(group, files.baselines), *device_sentences(group, files.baselines)]
    if len(files.chosen) > 1:
        others = listed([other.name for other in files.chosen[1:]])
        sentences.append(f"Delivered in the same run, and shown below: {others}.")
    return Headline(title, [sentence for sentence in sentences if sentence], tiles(group))


def tiles(group: Group) -> list[Tile]:
    """The figures of one budget; means over its seeds where there are several."""
    metrics, accuracy, macs = group.first.metrics, group.spread("test_accuracy"), group.spread("mean_macs")
    low, high = interval(float(metrics["test_accuracy"]), group.first.n)
    seeds = len(group.seeds)
    over = (
        f"{seeds} seeds"
        if seeds > 1
        else f"95{chr(160)}% interval {100 * low:.1f}\u2060–\u2060{100 * high:.1f}{chr(160)}%"
    )

    def mean(name: str) -> float:
        return group.spread(name).mean

    found = [
        Tile("Test accuracy", accuracy.percent(), f"n = {count(group.first.n)}, {over}"),
        Tile("Mean MACs", macs.si(), f"rule: {metrics['mac_rule']}"),
    ]
    if not group.first.is_static and not _last_unused(group):
        saved = group.spread_of(lambda member: 1 - member.metrics["mean_macs"] / member.metrics["static_macs"])
        gain = accuracy.mean - group.spread("static_accuracy").mean
        note = f"accuracy {signed_points(gain)}"
        found.append(Tile("Against its last exit alone", f"{change(-saved.mean)} MACs", note))
    found.append(Tile("Parameters", si(mean("params")), f"{size(mean('weight_bytes'))} of weights"))
    found.append(Tile("Peak activations", size(mean("activation_bytes")), "for one image"))
    if "latency_ms" in metrics:
        found.append(Tile("Latency", f"{mean('latency_ms'):.3g}{chr(160)}ms", str(metrics.get("device", ""))))
    if "energy_mj" in metrics:
        found.append(Tile("Energy", f"{mean('energy_mj'):.3g}{chr(160)}mJ", str(metrics.get("device", ""))))
    return found


def budget_kept(group: Group, files: Files) -> str:
    """Whether the mean cost on test keeps the budget that thresholds were set for; empty where there is none."""
    # Folders of earlier versions do not tell what their thresholds were set for.
    asked = group.first.metrics["budget"] if "budget" in group.first.metrics else _budget(group.name, files)
    name, bound = asked or ("", 0.0)
    figure, words, unit = MEAN_COSTS.get(name, ("", "", ""))
    if figure not in group.first.metrics:
        return ""
    spent = group.spread(figure).mean
    if _within(spent, bound):
        return f"On test, the {words} of {quantity(spent, unit)} keep the budget of {quantity(bound, unit)}."
    above = f"{percent(spent / bound - 1)} above" if spent >= 1.0005 * bound else "slightly above"
    selected = [member.metrics["select"].get(name) for member in group.members]
    met = ""  # of energy and latency, older folders have no mean on select
    if None not in selected:
        met = f", which was {'met' if _within(max(selected), bound) else 'not met either'} on select"
    return f"On test, the {words} came to {quantity(spent, unit)}, {above} the budget of {quantity(bound, unit)}{met}."


def _within(spent: float, bound: float) -> bool:
    """Whether a mean cost keeps its bound; a mean of equal numbers may differ from them by rounding."""
    return spent <= bound or isclose(spent, bound, rel_tol=1e-12)


def _budget(name: str, files: Files, of_policy: bool = True) -> tuple[str, float] | None:
    """The mean cost that the recipe bounds for the network `name`, and the bound; None where it bounds none.

    `of_policy`: what a budget does not bound itself is bounded by the goal that thresholds are set for.
    """
    try:
        recipe = tomllib.loads((files.root / "recipe.toml").read_text(encoding="utf-8"))
        own = [budget for budget in recipe.get("deliver", {}).get("budgets", []) if budget["name"] == name]
        sections = [*own, recipe.get("policy", {})] if of_policy else own
        return next(((key, float(s[key])) for s in sections for key in MEAN_COSTS if key in s), None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # as for the order of budgets: a report must not fail for the recipe


def own_saving(group: Group, files: Files) -> str:
    """What stopping early saves and costs, against always running to the last exit."""
    if group.first.is_static:
        if RunFolder(files.root).named(group.name).exists() and not group.first.metrics.get("dropped_exits"):
            return "It has one exit, as the network has that the recipe names, so it never stops early."
        own = _budget(group.first.metrics.get("quantized_from", group.name), files, of_policy=False)
        why = one_exit(group.first.metrics.get("dropped_exits", ()), bool(own))
        return f"It has one exit, so it never stops early: {why}."
    macs, full = group.spread("mean_macs").mean, group.spread("static_macs").mean
    gain = group.spread("test_accuracy").mean - group.spread("static_accuracy").mean
    unused = " No test image needed that exit, so this saving flatters." if _last_unused(group) else ""
    return (
        f"Its own last exit alone would be right in {group.spread('static_accuracy').percent()} at {si(full)} MACs: "
        f"stopping early takes {_macs(macs / full)} and {_accuracy(gain)}.{unused}"
    )


def promise(group: Group) -> str:
    """What holds of the drawn network on images that nothing was set on; empty in folders of earlier versions."""
    held = group.first.metrics.get("guarantee")
    if held is None:
        return ""
    found = f"at most {percent(held['error_at_most'])} are answered wrongly"
    if not group.first.is_static:
        found += f", and at most {percent(held['lost_at_most'])} wrongly where the last exit would be right"
    return (
        f"With {percent(held['confidence'])} confidence each, of images like those of the calibrate split "
        f"(n = {count(held['n'])}) {found}."
    )


def comparisons(folder: Path) -> list[str]:
    """For each network that a run's folder holds, what it gains on the static ones trained beside it, if there are any.

    Raises:
        ValueError: `front.json` is damaged; the message names it.
    """
    files = Files.read(folder)
    if not files.baselines:
        return []
    return [f"{group.name}: {_compared(group, files.baselines)}" for group in files.chosen]


def _compared(group: Group, baselines: Sequence[Group]) -> str:
    on_device = device_sentences(group, baselines)
    return " ".join(on_device) if on_device else static_saving(group, baselines)


def static_saving(group: Group, baselines: Sequence[Group]) -> str:
    """The comparison with the static networks trained beside by the same schedule."""
    if not baselines:
        return (
            "No static network was trained beside it for comparison; deliver.static_macs, static_budget or "
            "static_backbone in the recipe asks for some."
        )
    accuracy, macs = group.spread("test_accuracy").mean, group.spread("mean_macs").mean
    equal = [b for b in baselines if b.spread("test_accuracy").mean >= accuracy]
    if not equal:
        best = max(baselines, key=lambda b: b.spread("test_accuracy").mean)
        return (
            f"No static network trained beside it is as accurate; the best, {best.name}, reaches "
            f"{best.spread('test_accuracy').percent()} at {best.spread('mean_macs').si()} MACs.{_at_equal(group, best)}"
        )
    cheapest = min(equal, key=lambda b: b.spread("mean_macs").mean)
    dear, ahead = cheapest.spread("mean_macs").mean, cheapest.spread("test_accuracy").mean - accuracy
    better = f" and is {points(ahead)} more accurate" if ahead > _CLOSE else ""
    return (
        f"The cheapest static network trained beside it that is at least as accurate, {cheapest.name}, has "
        f"{cheapest.spread('test_accuracy').percent()} at {si(dear)} MACs{better}: "
        f"the {'delivered' if group.first.is_static else 'early-exit'} network takes {_macs(macs / dear)}."
        f"{_at_equal(group, cheapest)}"
    )


def _at_equal(group: Group, static: Group) -> str:
    """What thresholds for the static network's accuracy on select come to on test; nothing where a seed lacks it."""
    found = None if group.first.is_static else group.as_accurate(static, "mean_macs")
    if found is None:
        return ""
    accuracy, macs = found
    saved = _macs(macs.mean / static.spread("mean_macs").mean)
    return (
        f" With thresholds as accurate as it on select, the early-exit network takes {saved}, at {accuracy.percent()}."
    )


def _sample(group: Group, files: Files) -> str:
    seeds = group.seeds
    if len(seeds) > 1:
        names = listed([str(seed) for seed in seeds])
        runs = f"mean ± standard deviation over {len(seeds)} trainings (seeds {names})"
    else:
        runs = f"one training (seed {seeds[0]})"
    task = f" of {files.front['task']['name']}" if files.front else ""
    return f"Measured on the {count(group.first.n)} images of the test split{task}, {runs}; {mac_rule(files.mac_rule)}."


def _last_unused(group: Group) -> bool:
    return bool(group.first.exits[-1]["share"] == 0)


def _accuracy(gain: float) -> str:
    if abs(gain) < 5e-5:
        return "is as accurate"
    return f"{'gains' if gain > 0 else 'costs'} {points(gain, 2)} of accuracy"


def _macs(ratio: float) -> str:
    return "as many MACs" if abs(1 - ratio) < _EQUAL else f"{less(ratio, 'fewer')} MACs"


def _unfinished(files: Files) -> str:
    if files.front is None:
        return "The search has not finished: front.json is not there yet. Start the same command again, and it goes on."
    if not any(trial["feasible"] for trial in files.front["trials"]):
        return "No trial kept all constraints, so there was nothing to deliver; loosen a constraint or search longer."
    return (
        "The search has finished; training the chosen networks has not. Start the same command again, and it goes on."
    )
