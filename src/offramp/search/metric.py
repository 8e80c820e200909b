"""What an evaluation may measure, and which way is better."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """A measured quantity; `maximise` tells which way is better, `log` that it spans decades (a cost)."""

    description: str
    maximise: bool = False
    log: bool = False


METRICS: dict[str, Metric] = {
    "error": Metric("share of the select split that is classified wrongly, 0 to 1"),
    "accuracy": Metric("share of the select split that is classified rightly, 0 to 1", maximise=True),
    "mean_macs": Metric("multiply-accumulates per sample, averaged over where samples leave", log=True),
    "params": Metric("parameters of the backbone and all exit branches", log=True),
    "weight_bytes": Metric("bytes of all weights", log=True),
    "activation_bytes": Metric("peak activation memory, bytes", log=True),
    "full_macs": Metric("multiply-accumulates with every stage and branch run once", log=True),
}
"""Metric name -> what it is. Objectives and constraints may name these."""


def check_metric(name: str, where: str) -> str:
    """`name`, if it is a metric.

    Raises:
        ValueError: it is not; the message tells `where` it stood and lists the metrics.
    """
    if name not in METRICS:
        raise ValueError(f"{where} names the metric {name!r}; known are {', '.join(METRICS)}")
    return name
