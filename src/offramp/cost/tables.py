"""Layer tables: what a layer of a geometry costs on a device, computed once by ZigZag at 8 bits, scaled from there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from offramp.cost.hardware import Hardware
from offramp.cost.splits import WHOLE, part, splits
from offramp.layers import Layer
from offramp.progress import track

ZIGZAG = "3.9.1"
"""The version of zigzag-dse that tables are computed with."""

REFERENCE_BITS = 8
"""Bits of weights and activations that an entry is computed at."""

LPF_LIMIT = 4
"""How finely ZigZag's temporal search cuts loops; 5 found nothing better for a sixfold time."""

_SHIPPED = Path(__file__).parent / "device_tables"
_FORMAT = 1
_SECONDS_BETWEEN_WRITES = 30.0

Three = tuple[float, float, float]


class Placement(NamedTuple):
    """Where the activations are before and after the layer: on chip, or off chip. Weights always come from off chip."""

    input_on_chip: bool = True
    output_on_chip: bool = True

    def __str__(self) -> str:
        return f"{'chip' if self.input_on_chip else 'dram'}>{'chip' if self.output_on_chip else 'dram'}"


PLACEMENTS = (Placement(True, True), Placement(True, False), Placement(False, True), Placement(False, False))


class Geometry(NamedTuple):
    """What a table is keyed by: a convolution's channels (of all groups), maps, kernel, stride, padding, groups."""

    channels: int
    out: int
    height: int
    width: int
    out_height: int
    out_width: int
    kernel: int = 1
    stride: int = 1
    pad: int = 0
    groups: int = 1

    @classmethod
    def of(cls, layer: Layer) -> Geometry:
        """The geometry of a convolution or a linear layer (one with kernel 1 on a 1 x 1 map).

        Raises:
            ValueError: the layer is neither.
        """
        if layer.op == "linear":
            return cls(layer.shape_in.elements, layer.shape_out.channels, 1, 1, 1, 1)
        if layer.op != "conv":
            raise ValueError(f"layer {layer.name} is a {layer.op}; tables hold convolutions and linear layers")
        (channels, height, width), (out, out_height, out_width) = layer.shape_in, layer.shape_out
        return cls(
            channels, out, height, width, out_height, out_width, layer.kernel, layer.stride, layer.pad, layer.groups
        )

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.out * (self.channels // self.groups) * self.kernel**2 * self.out_height * self.out_width

    @property
    def depthwise(self) -> bool:
        """Whether every group has one input channel, of several."""
        return 1 < self.groups == self.channels

    def __str__(self) -> str:
        maps = f"{self.channels}x{self.height}x{self.width}>{self.out}x{self.out_height}x{self.out_width}"
        return f"{maps} k{self.kernel} s{self.stride} p{self.pad} g{self.groups}"


class Estimate(NamedTuple):
    """Cost of a layer on one core. Energies in pJ; `utilisation`: share of the array's multipliers that worked.

    `dram_cycles`: how long the memory off chip is busy, hidden behind the array or not.
    """

    cycles: float
    compute_pj: float
    register_pj: float
    sram_pj: float
    dram_pj: float
    vector_pj: float
    utilisation: float
    dram_cycles: float

    @property
    def energy_pj(self) -> float:
        """All of it."""
        return self.compute_pj + self.register_pj + self.sram_pj + self.dram_pj + self.vector_pj


class Entry(NamedTuple):
    """What ZigZag found at 8 bits. `*_pj` and `dram_cycles` are for weights, inputs, outputs.

    `ideal_cycles`: all multipliers busy; `array_cycles`: with the mapping's idle ones; `cycles`: with loading, stalls
    and unloading; `dram_cycles`: how long the memory off chip was busy.
    """

    ideal_cycles: float
    array_cycles: float
    cycles: float
    mac_pj: float
    dram_cycles: Three
    register_pj: Three
    sram_pj: Three
    dram_pj: Three

    def at(self, weight_bits: int, act_bits: int, mac_energy: str = "product") -> Estimate:
        """Scaled to other bits; at 8 and 8, ZigZag's own figures.

        Memory energy is linear in the bits of what is moved (registers of outputs hold accumulators: not scaled). A
        multiply-accumulate costs in proportion to `weight_bits` x `act_bits` (`mac_energy` "product") or the same
        ("fixed"). Traffic off chip that was hidden behind the array at 8 bits can hide as long a time at any bits; what
        is longer adds to the cycles. Fewer bits never cost more.
        """
        w, a = weight_bits / REFERENCE_BITS, act_bits / REFERENCE_BITS
        scale = (w, a, a)
        busy = sum(x * s for x, s in zip(self.dram_cycles, scale))
        cycles = self.cycles_when(busy)
        return Estimate(
            cycles,
            self.mac_pj * (w * a if mac_energy == "product" else 1.0),
            sum(x * s for x, s in zip(self.register_pj, (w, a, 1.0))),
            sum(x * s for x, s in zip(self.sram_pj, scale)),
            sum(x * s for x, s in zip(self.dram_pj, scale)),
            0.0,
            self.ideal_cycles / cycles,
            busy,
        )

    def cycles_when(self, dram_busy: float) -> float:
        """Cycles in all where the memory off chip is busy for `dram_busy`, of which as many are hidden as at 8 bits."""
        hidden = sum(self.dram_cycles) - (self.cycles - self.array_cycles)
        return self.array_cycles + max(0.0, dram_busy - hidden)

    def row(self) -> list[float]:
        """As one flat list of numbers."""
        flat = [self.ideal_cycles, self.array_cycles, self.cycles, self.mac_pj]
        return [_short(x) for x in (*flat, *self.dram_cycles, *self.register_pj, *self.sram_pj, *self.dram_pj)]

    @classmethod
    def of_row(cls, r: list[float]) -> Entry:
        """The entry that `row` flattened."""
        threes = [(r[i], r[i + 1], r[i + 2]) for i in range(4, 16, 3)]
        return cls(r[0], r[1], r[2], r[3], *threes)


def _short(x: float) -> float:
    rounded = float(f"{x:.8g}")
    return int(rounded) if rounded.is_integer() else rounded


Rows = dict[str, Entry | None]
"""Entries by key; None where ZigZag found no mapping (the maps do not fit where they are placed)."""


def key(geometry: Geometry, placement: Placement) -> str:
    """The name of an entry in a table."""
    return f"{geometry} {placement}"


class Table:
    """Entries of one device: those shipped with Offramp or kept in the user's cache folder, and how to get more.

    `compute(hardware, geometry, placement)` makes a missing entry, which is then kept; None: ZigZag is not there.
    """

    def __init__(
        self, hardware: Hardware, rows: Rows, cache: Path | None = None, compute: Compute | None = None
    ) -> None:
        self.hardware, self.rows, self._cache, self._compute = hardware, rows, cache, compute

    @classmethod
    def open(cls, hardware: Hardware) -> Table:
        """The table of `hardware`: shipped and cached entries together.

        Files belong to a device when their header has its digest, this ZigZag version and these settings; others are
        passed over.
        """
        from offramp.cost import zigzag

        compute = zigzag.compute if zigzag.available() else None
        return cls(hardware, _all(hardware), _cached(hardware), compute)

    def entry(self, geometry: Geometry, placement: Placement) -> Entry | None:
        """The entry, computed where it is missing; None where the layer cannot be mapped with this placement.

        Raises:
            LookupError: it is missing and ZigZag is not there.
        """
        name = key(geometry, placement)
        if name not in self.rows:
            if self._compute is None:
                raise MissingLayer(self.hardware.name, geometry, placement)
            self.rows[name] = self._compute(self.hardware, geometry, placement)
            if self._cache is not None:
                added = read(self._cache, self.hardware) if self._cache.exists() else {}
                write(self._cache, self.hardware, {**added, name: self.rows[name]})
        return self.rows[name]


class MissingLayer(ValueError, LookupError):
    """A layer that is not in a device's table, where it cannot be computed either."""

    def __init__(self, device: str, geometry: Geometry, placement: Placement) -> None:
        super().__init__(
            f"layer {geometry} ({placement}) is not in the table of {device} and ZigZag is not installed; "
            f"`pip install 'offramp[zigzag]'` computes and keeps it when it is asked for, and "
            f"`offramp devices build {device} --space SPACE` computes a whole space's layers beforehand"
        )


Compute = Callable[[Hardware, Geometry, Placement], Entry | None]


def cache_folder() -> Path:
    """Where computed entries are kept: `OFFRAMP_CACHE`, else `offramp` in the user's cache folder."""
    given = os.environ.get("OFFRAMP_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "offramp"


def header(hardware: Hardware) -> dict[str, object]:
    """What a table file says of itself; a file with another digest, version or setting is of no use to the device."""
    return {
        "format": _FORMAT, "device": hardware.name, "digest": hardware.digest(), "zigzag": ZIGZAG,
        "lpf_limit": LPF_LIMIT, "optimised": "EDP", "weight_bits": REFERENCE_BITS, "act_bits": REFERENCE_BITS,
        "columns": "ideal_cycles array_cycles cycles mac_pj; for W, I, O: dram_cycles register_pj sram_pj dram_pj",
    }  # fmt: skip


def read(path: Path, hardware: Hardware) -> Rows:
    """The entries of a table file; none where it is another device's.

    Raises:
        ValueError: the file is no table.
    """
    try:
        with path.open(encoding="utf-8") as file:
            first = json.loads(file.readline())
            wanted = header(hardware)
            if any(first["header"].get(k) != wanted[k] for k in wanted if k not in ("device", "columns")):
                return {}
            stored = json.loads(file.read())
            return {name: Entry.of_row(row) if row else None for name, row in stored.items()}
    except (KeyError, IndexError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no layer table ({error}); delete it and build it again") from None


def write(path: Path, hardware: Hardware, rows: Rows) -> None:
    """Write a table file: a line with the header, then one line for each entry, sorted; the file is replaced whole."""
    lines = [f"{json.dumps(name)}: {json.dumps(row.row() if row else None)}" for name, row in sorted(rows.items())]
    text = json.dumps({"header": header(hardware)}) + "\n{\n" + ",\n".join(lines) + "\n}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def wanted(layers: Iterable[Layer], placements: Iterable[Placement] = PLACEMENTS) -> list[tuple[Geometry, Placement]]:
    """Every entry that a table needs for `layers`, each once."""
    geometries = dict.fromkeys(Geometry.of(layer) for layer in layers if layer.op in ("conv", "linear"))
    placements = tuple(placements)
    return [(geometry, placement) for geometry in geometries for placement in placements]


def build(
    hardware: Hardware, items: list[tuple[Geometry, Placement]], workers: int, compute: Compute
) -> Iterator[tuple[str, Entry | None]]:
    """Compute `items`, in `workers` processes (one: in this one), and yield each as it is ready."""
    if workers <= 1:
        for geometry, placement in items:
            yield key(geometry, placement), compute(hardware, geometry, placement)
        return
    with ProcessPoolExecutor(workers) as pool:
        jobs = {pool.submit(compute, hardware, *item): item for item in items}
        for job in as_completed(jobs):
            yield key(*jobs[job]), job.result()


class Built(NamedTuple):
    """What `build_table` did: the file, how many entries it computed, how many the file has."""

    path: Path
    computed: int
    entries: int


def build_table(
    hardware: Hardware,
    layers: Iterable[Layer],
    workers: int | None = None,
    on_chip_only: bool = False,
    path: Path | None = None,
) -> Built:
    """Compute what the table `path` lacks of `layers`, and keep it there (default: in the user's cache folder).

    Where the device has several cores, the parts that layers may be cut into are computed too, on chip. Entries are
    written every half minute, so that an interrupted build goes on where it stopped.

    Raises:
        RuntimeError: ZigZag is not installed.
    """
    from offramp.cost import zigzag

    if not zigzag.available():
        raise RuntimeError(f"layer tables are computed by zigzag-dse {ZIGZAG}, which is not installed: "
                           "pip install 'offramp[zigzag]'")  # fmt: skip
    if path is None:
        path, shipped = _cached(hardware), _all(hardware)
    else:
        shipped = {}
    rows = read(path, hardware) if path.exists() else {}
    layers = list(layers)
    parts = [part(layer, split) for layer in layers for split in splits(layer, hardware) if split != WHOLE]
    items = wanted(layers, PLACEMENTS[:1] if on_chip_only else PLACEMENTS) + wanted(parts, PLACEMENTS[:1])
    items = list(dict.fromkeys(items))
    todo = [item for item in items if key(*item) not in rows and key(*item) not in shipped]
    written = time.monotonic()
    try:
        with track(f"layers of {hardware.name}", len(items), len(items) - len(todo), unit="layers") as tracker:
            for name, entry in build(hardware, todo, workers or os.cpu_count() or 1, zigzag.compute):
                rows[name] = entry
                tracker.advance(note=name)
                if time.monotonic() - written > _SECONDS_BETWEEN_WRITES:
                    write(path, hardware, rows)
                    written = time.monotonic()
    finally:
        write(path, hardware, rows)
    return Built(path, len(todo), len(rows))


def _cached(hardware: Hardware) -> Path:
    return cache_folder() / f"{hardware.name}-{hardware.digest()}.json"


def _all(hardware: Hardware) -> Rows:
    rows: Rows = {}
    cache = _cached(hardware)
    for path in [*sorted(_SHIPPED.glob("*.json")), *([cache] if cache.exists() else [])]:
        rows.update(read(path, hardware))
    return rows
