"""What a network costs on the run's device: a sentence against the static references, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from offramp.report._delivered import Delivered, Group
from offramp.report._numbers import count, less, percent, points, quantity, size
from offramp.report._tables import Table
from offramp.report._words import MAPPINGS, MEAN_COSTS


def device_sentences(group: Group, baselines: Sequence[Group]) -> list[str]:
    """What the network costs on the device, against each static reference by its name; none without a device."""
    found = [_against_references(group), *(_at_equal_accuracy(group, static) for static in baselines)]
    return [sentence for sentence in found if sentence]


def _at_equal_accuracy(group: Group, static: Group) -> str:
    """Mean ET, or latency, with thresholds for a static network's accuracy, or that it is not reached; empty if device
    or bits differ."""
    what, metric, unit = _counting(group.first.metrics)
    own = MEAN_COSTS[metric][0]
    if own not in group.first.metrics or _counted(group.first) != _counted(static.first):
        return ""
    accuracy, full = static.spread("test_accuracy"), static.spread(own).mean
    beside = f"{static.name} ({accuracy.percent()}), a static network trained beside it at the same bits"
    if (found := group.as_accurate(static, metric)) is not None:
        reached, mean = found[0], found[1].mean
        cut = f"{less(mean / full)} than that one's ({quantity(full)})"
        return (
            f"With thresholds that are on select as accurate as {beside}, {what} is {quantity(mean, unit)}, {cut}, "
            f"and accuracy {reached.percent()}."
        )
    behind = accuracy.mean - group.spread("test_accuracy").mean
    if behind <= 0:
        return ""
    return (
        f"No thresholds make each training as accurate on select as {beside}; as delivered it is {points(behind)} less "
        "accurate, so that what it saves flatters."
    )


def _counting(metrics: dict[str, Any]) -> tuple[str, str, str]:
    """What is compared on the device, in words, as a mean cost, and its unit: ET, or latency where there is none."""
    return ("ET", "et_avg", "J x cycles") if "et_avg" in metrics else ("latency", "mean_latency_ms", "ms")


def _counted(network: Delivered) -> tuple[object, ...]:
    """What two networks must share for their costs to be compared."""
    return network.metrics.get("device"), network.metrics.get("mapping"), network.architecture.precision


def _against_references(group: Group) -> str:
    """Mean ET, or mean latency where no energies are known."""
    metrics = group.first.metrics
    if "device" not in metrics:
        return ""
    what, metric, unit = _counting(metrics)
    own, end = MEAN_COSTS[metric][0], "et" if metric == "et_avg" else "latency_ms"
    mean = group.spread(own).mean
    start = f"On {_where(metrics)}: {what} {quantity(mean, unit)}"
    if group.first.is_static:
        return f"{start} for every image."
    found = []
    for kind, name in _references(metrics):
        if f"{kind}_{end}" in metrics:
            value = group.spread(f"{kind}_{end}").mean
            found.append(f"{less(mean / value)} than {name} ({quantity(value)})")
    seeds = f" over {len(group.members)} trainings" if len(group.members) > 1 else ""
    own_accuracy, last = group.spread("test_accuracy").percent(), group.spread("static_accuracy").percent()
    return (
        f"{start} on average{seeds}, {' and '.join(found)}. Its accuracy is {own_accuracy} then, that of its last exit "
        f"at every image {last}."
    )


def device_table(network: Delivered) -> Table | None:
    """Energy, latency and ET of the network and of its static references; None where no energies are known."""
    metrics = network.metrics
    if "et_avg" not in metrics:
        return None
    rows = [
        _row("this network, mean over images", metrics, "energy_mj", "latency_ms", "et_avg"),
        _row("this network, mean energy x mean latency", metrics, "energy_mj", "latency_ms", "et_of_means"),
    ]
    for kind, name in _references(metrics):
        rows.append(_row(name, metrics, f"{kind}_energy_mj", f"{kind}_latency_ms", f"{kind}_et"))
    caption = (
        f"{network.name}, seed {metrics['seed']}: on {_where(metrics)}. Test split, n = {count(network.n)}. "
        "ET is energy x latency in clock cycles; its mean over images is ET_avg. An image spends on average "
        f"{percent(metrics['dynamic_efficiency'])} of the energy of one that leaves at the network's last exit."
    )
    if metrics["mapping"] == "speculate":
        wasted = quantity(metrics["exit_overhead_mj"], "mJ")
        caption += f" Of the mean energy, {wasted} is exit overhead: work on the next stage that an exit made needless."
    return Table(caption, ["", "energy, mJ", "latency, ms", "ET, J x cycles"], rows)


def npu_table(network: Delivered) -> Table | None:
    """Time and memory of every stage as Vela compiled it; None where the network was not compiled with its weights."""
    metrics = network.metrics
    if "stage_latency_ms" not in metrics:
        return None
    stages = metrics["stage_latency_ms"]
    unknown: list[Any] = [None] * len(stages)  # folders of earlier versions do not tell
    columns = [
        metrics.get(name, unknown) for name in ("branch_latency_ms", "stage_weight_bytes", "stage_activation_bytes")
    ]
    rows = [
        [f"stage {i}", quantity(stage), _or_dash(branch), _size(weights), _size(activations)]
        for i, (stage, branch, weights, activations) in enumerate(zip(stages, *columns, strict=True))
    ]
    branches = [branch for branch in columns[0] if branch is not None]
    totals = [quantity(sum(stages)), quantity(sum(branches)) if branches else "–"]
    memory = [size(metrics["npu_weight_bytes"]), size(metrics["npu_activation_bytes"])]
    rows.append(["everything", *totals, *memory])
    caption = (
        f"{network.name}: on {metrics['device']}, each stage compiled by Arm's Vela with its own weights; one image, "
        "no split. Weights as the compiler keeps them: compressed, with biases and commands, the branch's included; "
        "activations: the most memory at once. The host's work between stages is not in it."
    )
    return Table(caption, ["part", "stage, ms", "branch, ms", "weights", "peak activations"], rows)


def _where(metrics: dict[str, Any]) -> str:
    mapping = MAPPINGS.get(metrics.get("mapping", ""), "") if "et_avg" in metrics else ""
    return f"{metrics['device']}{f' ({mapping})' if mapping else ''}"


def _references(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """The static references that a folder has figures of: the beginning of their names, and what they are."""
    if "static_exit" not in metrics:  # a folder of an earlier version, whose last exits may have been dropped
        return [("static", "its own last exit alone")]
    found = [("static", "the backbone alone, to its final exit")]
    if "full_et" in metrics:
        found.append(("full", "full depth with every branch"))
    return found


def _row(name: str, metrics: dict[str, Any], *keys: str) -> list[str]:
    return [name, *(quantity(metrics[key]) for key in keys)]


def _or_dash(value: float | None) -> str:
    return "–" if value is None else quantity(value)


def _size(value: float | None) -> str:
    return "–" if value is None else size(value)
