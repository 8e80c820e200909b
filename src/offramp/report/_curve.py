"""The data of the accuracy-cost curves and their budget sliders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from offramp.report._delivered import Delivered, Group
from offramp.report._words import MEAN_COSTS
from offramp.report._words import metric as in_words


def curve_data(network: Delivered, baselines: Sequence[Group] = ()) -> dict[str, Any] | None:
    """What the figure over MACs is drawn from; None where the network has one exit, or no `curve.json`.

    `points` are cheapest first; `start` is the budget that the slider begins at, what the delivered policy costs on
    select. `measure` is the one that `model.onnx` holds: thresholds in another measure's unit do not fit that file.
    """
    if network.curve is None or network.is_static:
        return None
    metrics = network.metrics
    last = {"accuracy": metrics["static_accuracy"], "mean_macs": metrics["static_macs"]}
    return _curve(network, baselines, "mean_macs", network.curve, last)


def device_curve_data(network: Delivered, baselines: Sequence[Group] = ()) -> dict[str, Any] | None:
    """Likewise over the mean cost on the device that `device_curve.json` was tuned for; None without that file.

    `last` is the backbone alone, where the network kept its final exit, so that its accuracy is known.
    """
    if network.device_curve is None or network.is_static:
        return None
    metrics, metric = network.metrics, network.device_curve["metric"]
    last = None
    if metrics["static_exit"] == network.architecture.exits[-1]:
        reference = metrics[f"static_{MEAN_COSTS[metric][0].removesuffix('_avg')}"]
        last = {"accuracy": metrics["static_accuracy"], metric: reference}
    return _curve(network, baselines, metric, network.device_curve["points"], last)


def _curve(
    network: Delivered,
    baselines: Sequence[Group],
    metric: str,
    points: Sequence[dict[str, Any]],
    last: dict[str, float] | None,
) -> dict[str, Any]:
    """A figure over the mean cost `metric`; costs elsewhere in `metrics.json` go by another name."""
    metrics, measured = network.metrics, MEAN_COSTS[metric][0]
    # The delivered policy is a point of the curve too, and the one that model.onnx has by default.
    own = network.policy.to_dict() | {
        "select": metrics["select"],
        "test": {"accuracy": metrics["test_accuracy"], metric: metrics[measured]},
        "utilisation": metrics["utilisation"],
    }
    return {
        "name": network.name,
        "metric": metric,
        "words": in_words(metric),
        "points": sorted([*points, own], key=lambda point: point["select"][metric]),
        "measure": metrics["measure"],
        "start": metrics["select"][metric],
        "delivered": own["test"],
        "last": last,
        "statics": [
            {"name": m.name, "accuracy": m.metrics["test_accuracy"], metric: m.metrics[measured]}
            for group in baselines
            for m in group.members
            if measured in m.metrics
        ],
        "n": metrics["splits"],
    }


def curve_sentence(network: Delivered) -> str:
    """Why there is no curve, where there is none."""
    if network.is_static:
        return "This network has one exit, so it has no thresholds and no curve: one accuracy at one cost."
    if network.curve is None:
        return "The accuracy-cost curve is missing: there is no curve.json in this network's folder."
    return ""
