"""One layer on several cores of a device: every way to run it, with what it takes to bring its input there."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from offramp.cost.links import Links, Place, Transfer
from offramp.cost.on_device import DeviceModel
from offramp.cost.splits import WHOLE, Split, part, splits
from offramp.cost.tables import Geometry, Placement
from offramp.layers import Layer, Shape

ON_CHIP = Placement(True, True)


class Choice(NamedTuple):
    """A way to run one layer: where its parts run, where its output then lies; DRAM's share of the time is `dram`."""

    at: Place
    out: Place
    cycles: float
    pj: float
    dram: float


class Cores:
    """`count` cores of a device (default: all); every choice that was asked for is kept for the next network.

    Raises:
        ValueError: the device has fewer cores, or as `Links` does.
    """

    def __init__(self, model: DeviceModel, count: int | None = None) -> None:
        hardware = model.hardware
        if count is not None and not 1 <= count <= hardware.cores:
            raise ValueError(f"cores is {count}; device {hardware.name} has {hardware.cores}")
        self.model, self.hardware, self.count = model, hardware, count or hardware.cores
        self.links = Links(hardware, self.count)
        self._choices: dict[object, list[Choice]] = {}
        self._parts: dict[object, tuple[float, float, float]] = {}

    @property
    def home(self) -> Place:
        """The first core, where the image lies."""
        return self.links.place(WHOLE)

    @cached_property
    def spare(self) -> Place:
        """The last core, where branches run beside the next stage."""
        return Place(self.links.order[-1:])

    def choices(self, layer: Layer, have: Place) -> list[Choice]:
        """Every way to run one `layer` whose only input lies at `have`."""
        key = (layer[1:], have)
        if key not in self._choices:
            if layer.op in ("conv", "linear"):
                places = [(split, self.links.place(split)) for split in self._splits(layer)]
                self._choices[key] = [self.run(layer, split, have, at) for split, at in places]
            else:
                self._choices[key] = [self.vector(layer, have)]
        return self._choices[key]

    def _splits(self, layer: Layer) -> list[Split]:
        # What does not fit on one core's chip runs whole: its maps come from off chip piece by piece.
        return splits(layer, self.hardware, self.count) if self.model.placement(layer) == ON_CHIP else [WHOLE]

    def run(self, layer: Layer, split: Split, have: Place, at: Place) -> Choice:
        """A convolution or linear layer in equal parts at `at`, its input brought there.

        The parts take turns at the DRAM, so that each waits for all of its traffic; weights that all parts share (a
        split by rows) are read from there once. What is not traffic off chip is charged to every part.
        """
        key = (layer[1:], split)
        if key not in self._parts:
            self._parts[key] = self._part(layer, split)
        cycles, pj, busy = self._parts[key]
        fed = self.links.feed(layer, have, at)
        return Choice(at, at, cycles + fed.cycles, pj + fed.pj, busy)

    def _part(self, layer: Layer, split: Split) -> tuple[float, float, float]:
        """Cycles, pJ, and cycles that the DRAM is busy."""
        cut = part(layer, split)
        placement = self.model.placement(layer) if split == WHOLE else ON_CHIP
        estimate = self.model.estimate(cut, placement)
        entry = self.model.table.entry(Geometry.of(cut), placement)
        assert entry is not None
        times = split.ways if split.by == "channels" else 1
        busy = estimate.dram_cycles * times * self._slower
        on_chip = split.ways * (estimate.energy_pj - estimate.dram_pj)
        return entry.cycles_when(busy), on_chip + times * estimate.dram_pj * self._dearer, busy

    def vector(self, layer: Layer, have: Place, other: tuple[Shape, Place] | None = None) -> Choice:
        """An operation of the vector units, which work where the map lies; `other`: a second operand to bring there."""
        estimate = self.model.estimate(layer)
        fetched = Transfer() if other is None else self._fetch(layer, have, *other)
        out, joined = self._join(layer, have)
        busy = estimate.dram_cycles * self._slower
        cycles = estimate.cycles - estimate.dram_cycles + busy + fetched.cycles + joined.cycles
        pj = estimate.energy_pj + estimate.dram_pj * (self._dearer - 1) + fetched.pj + joined.pj
        return Choice(have, out, cycles, pj, busy)

    def _fetch(self, layer: Layer, have: Place, shape: Shape, place: Place) -> Transfer:
        """Bring a second operand of `shape` from `place` to where the first lies."""
        if layer.op == "scale" and have.by == "rows":  # every part needs every channel's factor
            return self.links.copy(shape, layer.act_bits, place, have.cores)
        return self.links.bring(shape, layer.act_bits, place, have)

    def _join(self, layer: Layer, have: Place) -> tuple[Place, Transfer]:
        """Where the output of `layer` lies: where its input does, or brought together on the first of these cores."""
        ways = len(have.cores)
        uneven = layer.shape_in.height % ways or layer.shape_out.height % ways
        mixed = layer.op == "resize" or (layer.op == "pool" and uneven)
        if have.by != "rows" or ways == 1 or not mixed:
            return have, Transfer()
        out = Place(have.cores[:1])
        shares = layer.shape_out._replace(height=max(ways, layer.shape_out.height))  # a row of each core at least
        return out, self.links.bring(shares, layer.act_bits, have, out)

    @cached_property
    def _dearer(self) -> float:
        """What traffic off chip costs through the mesh, over what the last memory says."""
        mesh, memory = self.hardware.mesh, self.hardware.memory[-1]
        if mesh is None or not memory.read_pj:
            return 1.0
        return (mesh.offchip_pj / mesh.offchip_bits) / (memory.read_pj / max(port.bits[1] for port in memory.ports))

    @cached_property
    def _slower(self) -> float:
        """How much longer traffic off chip takes where the link to it is narrower than the memory."""
        width = max(port.bits[1] for port in self.hardware.memory[-1].ports)
        return max(1.0, width / self.hardware.mesh.offchip_bits) if self.hardware.mesh else 1.0
