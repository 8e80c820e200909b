"""What an evaluation may measure, and which way is better."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """A measured quantity; `maximise` tells which way is better, `log` that it spans decades (a cost).

    `device`: it needs one, as a recipe's section [hardware] names it. `target`: it needs one, `policy.mean_macs`.
    """

    description: str
    maximise: bool = False
    log: bool = False
    device: bool = False
    target: bool = False


METRICS: dict[str, Metric] = {
    "error": Metric("share of the select split that is classified wrongly, 0 to 1"),
    "accuracy": Metric("share of the select split that is classified rightly, 0 to 1", maximise=True),
    "mean_macs": Metric("multiply-accumulates per sample, averaged over where samples leave", log=True),
    "params": Metric("parameters of the backbone and all exit branches", log=True),
    "weight_bytes": Metric("bytes of all weights", log=True),
    "activation_bytes": Metric("peak activation memory, bytes", log=True),
    "full_macs": Metric("multiply-accumulates with every stage and branch run once", log=True),
    "mean_energy_mj": Metric("energy per sample, averaged over where samples leave, mJ", log=True, device=True),
    "mean_latency_ms": Metric("latency per sample, averaged over where samples leave, ms", log=True, device=True),
    "et_avg": Metric("energy x latency per sample, averaged over where they leave, J x cycles", log=True, device=True),
    "dynamic_efficiency": Metric("mean energy over the energy of passing every exit, 0 to 1", device=True),
    "exit_overhead_mj": Metric("energy per sample of what had begun before its exit had decided, mJ", device=True),
    "maep": Metric("deviation of mean MACs from their target, to either side, %", target=True),
    "penalised_error": Metric("error in % plus 0.1 maep, points of % (AEBNAS)", target=True),
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
