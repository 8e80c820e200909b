"""The mesh between the cores: what it takes to bring a map from the cores that hold it to those that need it."""

from __future__ import annotations

from collections import defaultdict
from math import ceil
from typing import NamedTuple

from offramp.cost.hardware import Hardware
from offramp.cost.splits import Split
from offramp.layers import Layer, Shape


class Place(NamedTuple):
    """The cores that hold a map, each its part of the channels or the rows, in order; or that run a layer's parts."""

    cores: tuple[int, ...]
    by: str = "channels"

    @property
    def split(self) -> str:
        """How the map is cut: "whole", "channels" or "rows"."""
        return self.by if len(self.cores) > 1 else "whole"


class Box(NamedTuple):
    """Some channels and rows of a map, ends excluded."""

    channels: tuple[int, int]
    rows: tuple[int, int]


class Transfer(NamedTuple):
    """Cycles until everything has arrived, and pJ in links and memories."""

    cycles: float = 0.0
    pj: float = 0.0


class Links:
    """The mesh of `hardware`, of which `cores` are used; core i stands in column i mod columns.

    Every link carries `link_bits` a cycle, both ways. A transfer goes along its row first, then along the column; what
    several cores need from one goes out once and is copied on the way. It takes as long as the busiest link, is read
    once where it comes from and written once where it arrives.

    Raises:
        ValueError: there are several cores, but no links in the file, or no memory for activations.
    """

    def __init__(self, hardware: Hardware, cores: int) -> None:
        self.hardware, self.mesh = hardware, hardware.mesh
        self._known: dict[object, Transfer] = {}
        if cores == 1:
            self.order: tuple[int, ...] = (0,)
            return
        memory, mesh = hardware.holds("O"), hardware.mesh
        if mesh is None or mesh.columns * mesh.rows < hardware.cores:
            given = "no [mesh]" if mesh is None else f"a mesh of {mesh.columns} x {mesh.rows}"
            raise ValueError(
                f"device {hardware.name} has {hardware.cores} cores and {given}; mapping needs their links"
            )
        if memory is None:
            raise ValueError(f"device {hardware.name} has no memory on chip that holds whole maps; mapping needs one")
        width = {kind: max(p.bits[1] for p in memory.ports if kind in p.type) for kind in ("read", "write")}
        self._read, self._write = memory.read_pj / width["read"], memory.write_pj / width["write"]
        # Neighbours in this order are neighbours in the mesh, so that parts of rows lie beside one another.
        columns = mesh.columns
        found = [r * columns + (c if r % 2 == 0 else columns - 1 - c) for r in range(mesh.rows) for c in range(columns)]
        self.order = tuple(core for core in found if core < hardware.cores)[:cores]

    def place(self, split: Split) -> Place:
        """Where a layer cut by `split` runs: cores are alike, so always on the first ones."""
        return Place(self.order[: split.ways], split.by if split.ways > 1 else "channels")

    def feed(self, layer: Layer, have: Place, at: Place) -> Transfer:
        """Bring the input of `layer`, which lies at `have`, to where its parts run.

        A core needs the rows under its windows, and all channels unless the layer is depthwise.
        """
        if have == at and len(at.cores) == 1:
            return Transfer()
        key = (layer.shape_in, layer.shape_out, layer.kernel, layer.stride, layer.pad, layer.groups, layer.op,
               layer.act_bits, have, at)  # fmt: skip
        if key not in self._known:
            needs = [_needed(layer, part) for part in _parts(layer.shape_out, at)]
            self._known[key] = self._move(layer.shape_in, layer.act_bits, have, dict(zip(at.cores, needs)))
        return self._known[key]

    def bring(self, shape: Shape, bits: int, have: Place, at: Place) -> Transfer:
        """Bring a map of `shape` from `have` to the parts of `at`."""
        if have == at:
            return Transfer()
        key = (shape, bits, have, at)
        if key not in self._known:
            self._known[key] = self._move(shape, bits, have, dict(zip(at.cores, _parts(shape, at))))
        return self._known[key]

    def copy(self, shape: Shape, bits: int, have: Place, cores: tuple[int, ...]) -> Transfer:
        """Bring the whole map to every one of `cores`."""
        key = (shape, bits, have, cores)
        if key not in self._known:
            whole = Box((0, shape.channels), (0, shape.height))
            self._known[key] = self._move(shape, bits, have, dict.fromkeys(cores, whole))
        return self._known[key]

    def _move(self, shape: Shape, bits: int, have: Place, needs: dict[int, Box]) -> Transfer:
        mesh = self.mesh
        assert mesh is not None
        loads: dict[tuple[int, int], float] = defaultdict(float)
        pj = 0.0
        for source, owned in zip(have.cores, _parts(shape, have)):
            wanted: dict[Box, list[int]] = defaultdict(list)
            for core, need in needs.items():
                if core != source:
                    wanted[_common(owned, need)].append(core)
            for box, cores in wanted.items():
                size = _size(box) * shape.width * bits
                if not size:
                    continue
                links = {link for core in cores for link in self._path(source, core)}
                for link in links:
                    loads[link] += size
                hops = len(links) * mesh.link_pj / mesh.link_bits
                pj += size * (self._read + hops + self._write * len(cores))
        return Transfer(ceil(max(loads.values(), default=0.0) / mesh.link_bits), pj)

    def _path(self, a: int, b: int) -> list[tuple[int, int]]:
        assert self.mesh is not None
        columns, found = self.mesh.columns, []
        while a != b:
            if a % columns != b % columns:
                step = 1 if b % columns > a % columns else -1
            else:
                step = columns if b > a else -columns
            found.append((a, a + step))
            a += step
        return found


def _parts(shape: Shape, at: Place) -> list[Box]:
    """What each core of `at` has of a map."""
    length = shape.height if at.by == "rows" else shape.channels
    step = ceil(length / len(at.cores))
    found = []
    for i in range(len(at.cores)):
        cut = (min(length, i * step), min(length, (i + 1) * step))
        found.append(Box((0, shape.channels), cut) if at.by == "rows" else Box(cut, (0, shape.height)))
    return found


def _needed(layer: Layer, part: Box) -> Box:
    """The input that `part` of the output is computed from."""
    shape = layer.shape_in
    every = Box((0, shape.channels), (0, shape.height))
    if layer.op == "linear":
        return every
    first, last = part.rows[0] * layer.stride - layer.pad, (part.rows[1] - 1) * layer.stride - layer.pad + layer.kernel
    rows = (max(0, first), min(shape.height, last))
    if part.rows[0] >= part.rows[1] or part.channels[0] >= part.channels[1]:
        return Box((0, 0), (0, 0))
    depthwise = 1 < layer.groups == shape.channels
    return Box(part.channels, rows) if depthwise else Box(every.channels, rows)


def _common(a: Box, b: Box) -> Box:
    return Box(*((max(x[0], y[0]), min(x[1], y[1])) for x, y in zip(a, b)))


def _size(box: Box) -> int:
    return max(0, box.channels[1] - box.channels[0]) * max(0, box.rows[1] - box.rows[0])
