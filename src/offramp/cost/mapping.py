"""A network mapped to the cores of a device: which core runs what and when, and what a sample costs that leaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

from offramp.architecture import Architecture
from offramp.cost.cores import Cores
from offramp.cost.devices import device as find_device
from offramp.cost.labels import Label, leaving
from offramp.cost.mapper import Aside, Mapper
from offramp.cost.mapping_search import Search
from offramp.cost.on_device import DeviceModel
from offramp.cost.ways import Step
from offramp.layers import layers

Mode = Literal["wait", "speculate"]
Objective = Literal["energy", "latency", "et"]


class Run(NamedTuple):
    """One layer as it runs on `cores`, each with its part of the output's channels or rows (`split`), or "whole".

    `exit`: number of the exit whose branch it belongs to, None for the backbone. `start`, `end` in cycles since the
    image came, where the sample goes all the way; bringing the input over the links is in both times and energy.
    Pooling, adds and the like run on their own units, beside the memories of these cores.
    """

    stage: int
    exit: int | None
    layer: str
    cores: tuple[int, ...]
    split: str
    start: float
    end: float
    energy_mj: float


class Reference(NamedTuple):
    """A network in which every sample goes all the way: mJ, ms, and their product `et` in J x cycles."""

    energy_mj: float
    latency_ms: float
    et: float


@dataclass(frozen=True)
class Mapping:
    """The best mapping found; none is better in the mean of `objective` over the shares that it was made for.

    `energy_mj`, `latency_ms`: for each exit in order, of one sample that leaves there: all stages and branches that
    ran, and what had already started of the next stage (`overhead_mj`, the paper's exit overhead; 0 at the last exit).
    """

    device: str
    cores: int
    clock_mhz: float
    mode: Mode
    objective: Objective
    energy_mj: tuple[float, ...]
    latency_ms: tuple[float, ...]
    overhead_mj: tuple[float, ...]
    runs: tuple[Run, ...]

    @property
    def full_depth(self) -> Reference:
        """All exits, full depth: what a sample costs that leaves at the last exit."""
        energy, latency = self.energy_mj[-1], self.latency_ms[-1]
        return Reference(energy, latency, energy * latency * self.clock_mhz)

    @property
    def stage_energy_mj(self) -> tuple[float, ...]:
        """E_k: what each exit adds, the stages since the exit before it and its branch; without overhead."""
        kept = [energy - wasted for energy, wasted in zip(self.energy_mj, self.overhead_mj)]
        return tuple(now - before for now, before in zip(kept, (0.0, *kept)))

    @property
    def stage_latency_ms(self) -> tuple[float, ...]:
        """T_k: the time between the decision of the exit before and that of this one."""
        return tuple(now - before for now, before in zip(self.latency_ms, (0.0, *self.latency_ms)))

    def mean_energy(self, shares: Sequence[float]) -> float:
        """Mean energy in mJ where the share `shares[k]` of the samples leaves at exit k."""
        return self._mean(shares, self.energy_mj)

    def mean_latency(self, shares: Sequence[float]) -> float:
        """Mean latency in ms."""
        return self._mean(shares, self.latency_ms)

    def mean_overhead(self, shares: Sequence[float]) -> float:
        """Mean exit overhead in mJ."""
        return self._mean(shares, self.overhead_mj)

    def et(self, shares: Sequence[float]) -> float:
        """ET_avg = sum_k shares_k E_k T_k, E_k and T_k cumulative (Zniber et al.), in J x cycles."""
        return self._mean(shares, [e * t for e, t in zip(self.energy_mj, self.latency_ms)]) * self.clock_mhz

    def et_of_means(self, shares: Sequence[float]) -> float:
        """The other definition: mean energy times mean latency, in J x cycles."""
        return self.mean_energy(shares) * self.mean_latency(shares) * self.clock_mhz

    @staticmethod
    def _mean(shares: Sequence[float], values: Sequence[float]) -> float:
        if len(shares) != len(values):
            raise ValueError(f"shares has {len(shares)} entries; the network has {len(values)} exits")
        return sum(share * value for share, value in zip(shares, values))


def map_network(
    architecture: Architecture,
    device: str | DeviceModel = "quad-edge-tpu",
    mode: Mode = "wait",
    objective: Objective = "et",
    shares: Sequence[float] | None = None,
    cores: int | None = None,
) -> Mapping:
    """Map `architecture` to `cores` cores of `device` (default: all) with the least mean of `objective`.

    `mode`: branches run after their stage ("wait"); or each may run beside the next stage on a free core, where that
    is better ("speculate"). `shares[k]`: share of the samples that leave at exit k; None: equally many at each.

    Raises:
        ValueError: an argument is none of those allowed, or the device's file does not say what mapping needs.
        LookupError: a layer, or a part of one, is not in the device's table and ZigZag is not installed.
    """
    for name, value, allowed in (("mode", mode, get_args(Mode)), ("objective", objective, get_args(Objective))):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}; allowed are {', '.join(allowed)}")
    exits = len(architecture.exits)
    shares = [1 / exits] * exits if shares is None else list(shares)
    # Asked this way round, so that NaN is refused too.
    if not (len(shares) == exits and min(shares) >= 0 and abs(sum(shares) - 1) <= 1e-3):
        raise ValueError(f"shares is {shares}; the network has {exits} exits, whose shares add up to 1")
    mapper = _mapper(device, cores)
    hardware, count = mapper.cores.hardware, mapper.cores.count
    if mode == "speculate" and count == 1:
        raise ValueError(f"mode is 'speculate', which needs a free core; {hardware.name} is used with 1")
    found = Search(mapper, layers(architecture), shares, mode == "speculate").best(objective)
    costs, clock = leaving(found), hardware.clock_mhz
    return Mapping(
        hardware.name, count, clock, mode, objective,
        tuple(cost.pj * 1e-9 for cost in costs),
        tuple(cost.cycles / (clock * 1e3) for cost in costs),
        tuple(cost.wasted_pj * 1e-9 for cost in costs),
        tuple(_runs(found)),
    )  # fmt: skip


def backbone_alone(
    architecture: Architecture,
    device: str | DeviceModel = "quad-edge-tpu",
    objective: Objective = "et",
    cores: int | None = None,
) -> Reference:
    """The static network: the backbone and the final exit, without the early branches, mapped in the same way.

    Raises:
        ValueError, LookupError: as `map_network` does.
    """
    last = architecture.with_exits(architecture.exits[-1:])
    return map_network(last, device, "wait", objective, cores=cores).full_depth


def cores_mapped_to(device: str | DeviceModel) -> int:
    """How many cores `map_network` may use of `device`; needs no network and no layer table.

    Raises:
        ValueError: `device` is none that networks can be mapped to, or its file does not say what mapping needs.
    """
    return _mapper(device, None).cores.count


def _mapper(device: str | DeviceModel, cores: int | None) -> Mapper:
    model = find_device(device).model if isinstance(device, str) else device
    if not isinstance(model, DeviceModel):
        raise ValueError(f"device is {device!r}, which describes no hardware to map a network to")
    return _kept(model, model.hardware.cores if cores is None else cores)


@lru_cache(maxsize=8)
def _kept(model: DeviceModel, cores: int) -> Mapper:
    return Mapper(Cores(model, cores))


def _runs(label: Label) -> Iterator[Run]:
    chain = [label]
    while (before := chain[-1].before) is not None:
        chain.append(before)
    number = 0
    for stage, (before, now) in enumerate(zip(chain[::-1], chain[-2::-1])):
        began = before.cycles
        yield from _steps(now.way.step, stage, None, began)
        if now.branch is not None:
            way = now.branch.way if isinstance(now.branch, Aside) else now.branch
            yield from _steps(way.step, stage, number, began + now.way.cycles)
            number += 1


def _steps(step: Step | None, stage: int, exit: int | None, began: float) -> Iterator[Run]:
    if step is None:
        return
    yield from _steps(step.before, stage, exit, began)
    split = step.at.split
    yield Run(stage, exit, step.layer.name, step.at.cores, split, began + step.start, began + step.end, step.pj * 1e-9)
