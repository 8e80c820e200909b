"""What candidates cost by the exit at which a sample leaves: MACs, and on a device energy and latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Literal

from offramp.architecture import Architecture
from offramp.cost import DeviceModel, NetworkCost, NpuModel, analytic, cores_mapped_to, cost, map_network
from offramp.cost import device as find_device
from offramp.search.known import analytic_costs, totals
from offramp.spaces import Candidate

_REMEMBERED = 20_000
BUDGETS = ("mean_macs", "mean_energy_mj", "mean_latency_ms", "et_avg")
"""Mean costs that thresholds can be tuned for, and networks bounded by."""

MappingMode = Literal["none", "wait", "speculate"]

Leaving = Mapping[str, tuple[float, ...]]
"""Metric -> (E,), its value for a sample that leaves at each exit: the metric is their mean over samples."""


class Costs:
    """MACs under `mac_rule`; with a device also its metrics, always under the rule `executed`.

    `target`: the mean MACs that are aimed at, where there are some; it is what the metric `maep` is measured by.

    Energies E_k (mJ) and latencies T_k (ms) of leaving at exit k count all stages and branches up to there. `et_avg` is
    the mean of E_k T_k: sum_k r_k cumET_k of Zniber et al., with r_k the share that leaves at exit k, and not the
    product of the means; in their unit, J x cycles.

    `mapping` "none": each layer runs whole on one core, one after another, so that nothing begins before an exit has
    decided and `exit_overhead_mj` is 0. "wait", "speculate": mapped to all cores by `map_network` with the least
    energy x latency, for samples that leave equally often at every exit.

    An NPU and a device that was measured tell latencies only; for an NPU each network is compiled.

    Raises:
        ValueError: the device is unknown, its file has mistakes, or nothing can be mapped to it.
    """

    def __init__(
        self,
        mac_rule: str = "executed",
        device: str | None = None,
        target: float | None = None,
        mapping: MappingMode = "none",
    ) -> None:
        self.mac_rule, self.device, self.target, self.mapping = mac_rule, device, target, mapping
        self._model = find_device(device).model if device else analytic
        if mapping != "none":
            _check_mapping(mapping, device, self._model)
        self.clock_mhz = self._model.hardware.clock_mhz if isinstance(self._model, DeviceModel) else 0.0
        self.network = lru_cache(_REMEMBERED)(self._network)
        self.leaving = lru_cache(_REMEMBERED)(self._leaving)

    @property
    def npu(self) -> bool:
        """Whether the device is an NPU, whose latencies depend on the weights: here random ones stand in for them."""
        return isinstance(self._model, NpuModel)

    def known(self, candidate: Candidate) -> dict[str, float]:
        """What is quick and needs no evaluation: as `analytic_costs`, and the least that means on the device can be."""
        if self.npu:
            return analytic_costs(candidate)
        leaving = self.leaving(candidate.architecture)
        least = {f"least_{name}": min(leaving[name]) for name in BUDGETS if name in leaving}
        # Thresholds may drop the branches before an exit; on a device, such networks are too slow to count them all.
        least["least_mean_macs"] = min(self.network(candidate.architecture).leaving("macs", "paper"))
        return totals(self.network(candidate.architecture)) | least

    def of_exits(self, architecture: Architecture, metric: str) -> Callable[[tuple[int, ...]], tuple[float, ...]]:
        """Numbers of the exits kept -> the metric for a sample that leaves at each, where only these are there."""

        def leaving(exits: tuple[int, ...]) -> tuple[float, ...]:
            return self.leaving(architecture.with_exits(tuple(architecture.exits[e] for e in exits)))[metric]

        return leaving

    def _network(self, architecture: Architecture) -> NetworkCost:
        """Per stage and branch, each layer on one core.

        Raises:
            LookupError: a layer is not in the device's table, and ZigZag is not installed.
        """
        return cost(architecture, self._model)

    def _leaving(self, architecture: Architecture) -> Leaving:
        """See `Leaving`; raises as `network`."""
        costs = self.network(architecture)
        found = {"mean_macs": costs.leaving("macs", self.mac_rule)}
        if self.device is None:
            return found
        energy, latency = costs.leaving("energy_mj"), costs.leaving("latency_ms")
        overhead = (0.0,) * len(energy)
        if not isinstance(self._model, DeviceModel):
            return found | {"mean_latency_ms": latency}
        if self.mapping != "none":
            mapped = map_network(architecture, self._model, self.mapping)
            energy, latency, overhead = mapped.energy_mj, mapped.latency_ms, mapped.overhead_mj
        return found | {
            "mean_energy_mj": energy,
            "mean_latency_ms": latency,
            "et_avg": tuple(e * t * self.clock_mhz for e, t in zip(energy, latency)),
            "dynamic_efficiency": tuple(e / energy[-1] for e in energy),
            "exit_overhead_mj": overhead,
        }


def _check_mapping(mapping: str, device: str | None, model: object) -> None:
    if not isinstance(model, DeviceModel):
        raise ValueError(f"mapping is {mapping!r}, but {device} has no cores to map to; it must be 'none'")
    cores = cores_mapped_to(model)  # says what the device's file lacks
    if mapping == "speculate" and cores == 1:
        raise ValueError(f"mapping is {mapping!r}, which needs a free core, and {device} has one core")
