"""The data of the accuracy-cost curve and its budget slider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from offramp.report._delivered import Delivered, Group


def curve_data(network: Delivered, baselines: Sequence[Group] = ()) -> dict[str, Any] | None:
    """What the figure is drawn from; None where the network has one exit, or no `curve.json`.

    `points` are cheapest first; `start` is the budget that the slider begins at, what the delivered policy costs on
    select. `measure` is the one that `model.onnx` holds: thresholds in another measure's unit do not fit that file.
    """
    if network.curve is None or network.is_static:
        return None
    metrics = network.metrics
    # The delivered policy is a point of the curve too, and the one that model.onnx has by default.
    own = network.policy.to_dict() | {
        "select": metrics["select"],
        "test": {"accuracy": metrics["test_accuracy"], "mean_macs": metrics["mean_macs"]},
        "utilisation": metrics["utilisation"],
    }
    return {
        "name": network.name,
        "points": sorted([*network.curve, own], key=lambda point: point["select"]["mean_macs"]),
        "measure": metrics["measure"],
        "start": metrics["select"]["mean_macs"],
        "delivered": own["test"],
        "last": {"accuracy": metrics["static_accuracy"], "mean_macs": metrics["static_macs"]},
        "statics": [
            {"name": m.name, "accuracy": m.metrics["test_accuracy"], "mean_macs": m.metrics["mean_macs"]}
            for group in baselines
            for m in group.members
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
