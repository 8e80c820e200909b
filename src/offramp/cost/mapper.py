"""The search for the best mapping: Pareto labels of energy, time and objective, stage by stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from offramp.cost.links import Links, Place
from offramp.cost.on_device import DeviceModel
from offramp.cost.splits import WHOLE, Split, part, splits
from offramp.cost.tables import Geometry, Placement
from offramp.layers import Layer, Shape, StageLayers

ON_CHIP = Placement(True, True)

_KEPT = 10_000
"""Ways through chains of layers that are remembered before they are found anew."""


class Choice(NamedTuple):
    """A way to run one layer: where its parts run, where its output then lies; DRAM's share of the time is `dram`."""

    at: Place
    out: Place
    cycles: float
    pj: float
    dram: float


class Step(NamedTuple):
    """A layer that ran; steps are linked from the last back to the first."""

    before: Step | None
    layer: Layer
    at: Place
    start: float
    end: float
    pj: float


class Way(NamedTuple):
    """A way through a chain of layers: pJ, cycles, and pJ of the layers that started before the window was over."""

    pj: float
    cycles: float
    early_pj: float
    step: Step | None


class Alive(NamedTuple):
    """Where the maps lie that are still needed: the one just made, a residual, what squeeze-excite will scale."""

    now: Place
    residual: Place | None = None
    wide: Place | None = None


class Aside(NamedTuple):
    """A branch on the spare core beside the next stage; `dram` cycles of its `way` it keeps the DRAM busy."""

    way: Way
    dram: float

    @property
    def window(self) -> float:
        """For how long the next stage runs before the branch has decided."""
        return self.way.cycles - self.dram


class Mapper:
    """Ways to run layers on the cores of a device; everything found is kept for the next network.

    Raises:
        ValueError: as `Links` does.
    """

    def __init__(self, model: DeviceModel, cores: int | None = None) -> None:
        hardware = model.hardware
        if cores is not None and not 1 <= cores <= hardware.cores:
            raise ValueError(f"cores is {cores}; device {hardware.name} has {hardware.cores}")
        self.model, self.hardware, self.cores = model, hardware, cores or hardware.cores
        self.links = Links(hardware, self.cores)
        self._choices: dict[object, list[Choice]] = {}
        self._parts: dict[object, tuple[float, float, float]] = {}
        self._ways: dict[object, dict[Place, list[Way]]] = {}
        self._asides: dict[object, Aside] = {}

    @property
    def home(self) -> Place:
        """The first core, where the image lies."""
        return self.links.place(WHOLE)

    @cached_property
    def spare(self) -> Place:
        """The last core, where branches run beside the next stage."""
        return Place(self.links.order[-1:])

    def ways(self, layers: Sequence[Layer], have: Place, window: float = 0.0) -> dict[Place, list[Way]]:
        """The Pareto ways to run `layers`, whose input lies at `have`, by where the output then lies.

        Until `window` cycles have passed the spare core is taken; what starts before then may have been for nothing,
        so that a layer may also wait until then, and the whole chain never ends before.
        """
        key = (tuple(layers), have, window)
        if key not in self._ways:
            if len(self._ways) >= _KEPT:
                self._ways.clear()
            self._ways[key] = self._find_ways(layers, have, window)
        return self._ways[key]

    def _find_ways(self, layers: Sequence[Layer], have: Place, window: float) -> dict[Place, list[Way]]:
        states: dict[Alive, list[Way]] = {Alive(have): [Way(0.0, 0.0, 0.0, None)]}
        for number, layer in enumerate(layers):
            grown: dict[Alive, list[Way]] = defaultdict(list)
            begins = number == 0 or _block(layers[number - 1]) != _block(layer)
            for alive, known in states.items():
                if begins:
                    residual = any(x.op == "add" and _block(x) == _block(layer) for x in layers[number:])
                    alive = Alive(alive.now, alive.now if residual else None)
                if layer.name.endswith("squeeze.pool"):
                    alive = alive._replace(wide=alive.now)
                for choice, after in self._next(layer, alive):
                    for way in known:
                        grown[after] += _go(way, layer, choice, window, self.spare)
            states = {alive: _pareto(found) for alive, found in grown.items()}
        ended: dict[Place, list[Way]] = defaultdict(list)
        for alive, known in states.items():
            ended[alive.now] += [way._replace(cycles=max(way.cycles, window)) for way in known]
        return {place: _pareto(found) for place, found in ended.items()}

    def _next(self, layer: Layer, alive: Alive) -> list[tuple[Choice, Alive]]:
        if layer.op == "add":
            assert alive.residual is not None
            choice = self._vector(layer, alive.now, (layer.shape_in, alive.residual))
            return [(choice, Alive(choice.out))]
        if layer.op == "scale":
            assert alive.wide is not None
            choice = self._vector(layer, alive.wide, (Shape(layer.shape_in.channels, 1, 1), alive.now))
            return [(choice, Alive(choice.out, alive.residual))]
        return [(choice, alive._replace(now=choice.out)) for choice in self.choices(layer, alive.now)]

    def choices(self, layer: Layer, have: Place) -> list[Choice]:
        """Every way to run one `layer` whose input lies at `have`, transfers included."""
        key = (layer[1:], have)
        if key not in self._choices:
            if layer.op in ("conv", "linear"):
                places = [(split, self.links.place(split)) for split in self._splits(layer)]
                self._choices[key] = [self.run(layer, split, have, at) for split, at in places]
            else:
                self._choices[key] = [self._vector(layer, have)]
        return self._choices[key]

    def _splits(self, layer: Layer) -> list[Split]:
        # What does not fit on one core's chip runs whole: its maps come from off chip piece by piece.
        return splits(layer, self.hardware, self.cores) if self.model.placement(layer) == ON_CHIP else [WHOLE]

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

    def _vector(self, layer: Layer, have: Place, other: tuple[Shape, Place] | None = None) -> Choice:
        """An operation of the vector units, which work where the map lies; `other`: a second operand to bring there."""
        estimate = self.model.estimate(layer)
        pj = estimate.energy_pj + estimate.dram_pj * (self._dearer - 1)
        busy, out = estimate.dram_cycles * self._slower, have
        cycles = estimate.cycles - estimate.dram_cycles + busy
        if other is not None:
            shape, place = other
            whole = layer.op == "scale" and have.by == "rows"  # every part needs every channel's factor
            moved = (
                self.links.copy(shape, layer.act_bits, place, have.cores)
                if whole
                else self.links.bring(shape, layer.act_bits, place, have)
            )
            cycles, pj = cycles + moved.cycles, pj + moved.pj
        ways = len(have.cores)
        mixed = layer.op == "resize" or (layer.op == "pool" and layer.shape_out.height % ways)
        if have.by == "rows" and ways > 1 and mixed:
            # Each core's share of the result is brought together on the first.
            out = Place(have.cores[:1])
            joined = layer.shape_out._replace(height=max(ways, layer.shape_out.height))
            moved = self.links.bring(joined, layer.act_bits, have, out)
            cycles, pj = cycles + moved.cycles, pj + moved.pj
        return Choice(have, out, cycles, pj, busy)

    def aside(self, layers: Sequence[Layer], have: Place) -> Aside:
        """A branch beside the next stage: convolutions and linear layers whole on the spare core."""
        key = (tuple(layers), have)
        if key not in self._asides:
            self._asides[key] = self._find_aside(layers, have)
        return self._asides[key]

    def _find_aside(self, layers: Sequence[Layer], have: Place) -> Aside:
        alive, dram, way = Alive(have), 0.0, Way(0.0, 0.0, 0.0, None)
        for number, layer in enumerate(layers):
            if number == 0 or _block(layers[number - 1]) != _block(layer):
                alive = Alive(alive.now, alive.now)
            if layer.name.endswith("squeeze.pool"):
                alive = alive._replace(wide=alive.now)
            if layer.op in ("conv", "linear"):
                choice = self.run(layer, WHOLE, alive.now, self.spare)
                alive = alive._replace(now=self.spare)
            else:
                choice, alive = self._next(layer, alive)[0]
            dram += choice.dram
            way = _go(way, layer, choice, 0.0, self.spare)[0]
        return Aside(way, min(dram, way.cycles))

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


def _block(layer: Layer) -> str:
    """The block that a layer is in, such as `blocks.0`."""
    return ".".join(layer.name.split(".")[:2])


def _go(way: Way, layer: Layer, choice: Choice, window: float, spare: Place) -> list[Way]:
    """`way` with one layer more: started at once, and, where a decision is awaited, after it."""
    start, found = way.cycles, []
    if start >= window or spare.cores[0] not in choice.at.cores:
        found.append(_after(way, layer, choice, start, start < window))
    if start < window:
        found.append(_after(way, layer, choice, window, False))
    return found


def _after(way: Way, layer: Layer, choice: Choice, start: float, early: bool) -> Way:
    end = start + choice.cycles
    step = Step(way.step, layer, choice.at, start, end, choice.pj)
    return Way(way.pj + choice.pj, end, way.early_pj + choice.pj * early, step)


def _pareto(ways: Iterable[Way]) -> list[Way]:
    """Those that no other beats in energy, time and early energy."""
    kept: list[Way] = []
    for way in sorted(ways, key=lambda w: w[:3]):
        if not any(k.cycles <= way.cycles and k.early_pj <= way.early_pj for k in kept):
            kept.append(way)
    return kept


class Label(NamedTuple):
    """A network mapped up to some point: pJ and cycles so far, and the objective's part of the exits behind it.

    `way`: the last stage's backbone; `branch`: its exit's, which the next stage runs beside where it is an `Aside`.
    """

    pj: float
    cycles: float
    score: float
    before: Label | None
    way: Way
    branch: Way | Aside | None


class Leaving(NamedTuple):
    """pJ and cycles of a sample that leaves at an exit; `wasted_pj` of it are work of the next stage."""

    pj: float
    cycles: float
    wasted_pj: float


def leaving(label: Label) -> list[Leaving]:
    """What leaving costs at each exit of a whole network."""
    found, after = [], None
    at: Label | None = label
    while at is not None:
        if isinstance(at.branch, Aside):
            wasted = after.way.early_pj if after else 0.0
            found.append(Leaving(at.pj + wasted, at.cycles + at.branch.window, wasted))
        elif at.branch is not None:
            found.append(Leaving(at.pj, at.cycles, 0.0))
        at, after = at.before, at
    return found[::-1]


State = tuple[Place, bool]
"""Where the next stage's input lies, and whether a branch runs beside that stage."""

Point = tuple[int, Place | State]
"""A point on the way: behind a stage's backbone (its number and a `Place`), or before a stage (a `State`)."""

Score = Callable[[int, float, float], float]
Prune = Callable[[list[Label], Point, int], list[Label]]


class Search:
    """The best mapping of a network's `stages` where the share `shares[k]` of the samples leaves at exit k."""

    def __init__(self, mapper: Mapper, stages: Sequence[StageLayers], shares: Sequence[float], speculate: bool) -> None:
        self.mapper, self.stages, self.speculate = mapper, stages, speculate
        numbers = [number for number, stage in enumerate(stages) if stage.branch]
        self.exit_of = {number: k for k, number in enumerate(numbers)}
        self.shares = np.array(shares, float)
        self._reached: dict[int, set[State]] = {}

    def best(self, objective: str) -> Label:
        """The label of the whole network with the least mean "energy", "latency" or "et"; no mapping is better."""
        count = len(self.shares)
        if objective != "et":
            return self._linear(np.tile((1.0, 0.0) if objective == "energy" else (0.0, 1.0), (count, 1)))
        # A good one first: least latency, then the best by what energy and latency are worth there, and so on.
        found, value, weights = None, np.inf, np.tile((0.0, 1.0), (count, 1))
        while True:
            label = self._linear(weights)
            costs = np.array([cost[:2] for cost in leaving(label)])
            now = float(costs.prod(1) @ self.shares)
            if found is not None and now >= value * (1 - 1e-12):
                return self._product(value) or found
            found, value, weights = label, now, costs[:, ::-1]

    def _linear(self, weights: np.ndarray) -> Label:
        """The least sum over exits of share x (weights[k, 0] x pJ + weights[k, 1] x cycles): one label per state."""
        worth = (self.shares[:, None] * weights).tolist()
        ahead = [[sum(row[i] for row in worth[k:]) for i in (0, 1)] for k in range(len(worth) + 1)]

        def score(k: int, pj: float, cycles: float) -> float:
            return worth[k][0] * pj + worth[k][1] * cycles

        def prune(labels: list[Label], point: Point, k: int) -> list[Label]:
            a, b = ahead[k]
            return [min(labels, key=lambda x: (x.score + a * x.pj + b * x.cycles, x.pj, x.cycles))]

        found = self._run(score, prune)
        assert found is not None
        return found

    def _product(self, value: float) -> Label | None:
        """The least sum over exits of share x pJ x cycles, if it is below `value`.

        This is a sum of products: a label is dropped only where another at the same point has no more energy, no more
        time and no more of the objective, or where the least energy and least time ahead cannot bring it below `value`.
        """
        bounds, shares = self._bounds(), self.shares.tolist()

        def score(k: int, pj: float, cycles: float) -> float:
            return shares[k] * pj * cycles

        def prune(labels: list[Label], point: Point, k: int) -> list[Label]:
            pj, cycles = bounds[point]
            now = np.array([label[:3] for label in labels])
            product = (now[:, :1] + pj[k:]) * (now[:, 1:2] + cycles[k:])
            good = np.flatnonzero(now[:, 2] + product @ self.shares[k:] < value * (1 - 1e-12))
            kept: list[Label] = []
            for label in sorted((labels[i] for i in good), key=lambda x: x[:3]):
                if not any(x.cycles <= label.cycles and x.score <= label.score for x in kept):
                    kept.append(label)
            return kept

        return self._run(score, prune)

    def _run(self, score: Score, prune: Prune) -> Label | None:
        """Labels from the image to the last exit; of those that are left there, the one with the least score."""
        mapper, last = self.mapper, len(self.stages) - 1
        start = Label(0.0, 0.0, 0.0, None, Way(0.0, 0.0, 0.0, None), None)
        states: dict[State, list[Label]] = {(mapper.home, False): [start]}
        k = 0  # exits whose branch has been started
        for number, stage in enumerate(self.stages):
            self._reached.setdefault(number, set(states))
            ended: dict[Place, list[Label]] = defaultdict(list)
            for (place, beside), labels in states.items():
                window = self._window(number, place, beside)
                for out, ways in mapper.ways(stage.backbone, place, window).items():
                    for label in labels:
                        for way in ways:
                            got = label.score
                            if beside:
                                got += score(k - 1, label.pj + way.early_pj, label.cycles + window)
                            pj, cycles = label.pj + way.pj, label.cycles + way.cycles
                            ended[out].append(Label(pj, cycles, got, label, way, None))
            states = {}
            for place, labels in ended.items():
                labels = prune(labels, (number, place), k)
                if not stage.branch:
                    states[place, False] = labels
                    continue
                grown = [
                    self._with(label, way, way.cycles, score(k, label.pj + way.pj, label.cycles + way.cycles))
                    for label in labels
                    for way in self._waits(stage, place)
                ]
                states[place, False] = prune(grown, (number + 1, (place, False)), k + 1) if grown else []
                if self.speculate and number < last:
                    aside = mapper.aside(stage.branch, place)
                    grown = [self._with(label, aside, aside.dram, 0.0) for label in labels]
                    states[place, True] = prune(grown, (number + 1, (place, True)), k) if grown else []
            k += bool(stage.branch)
        found = [label for labels in states.values() for label in labels]
        return min(found, key=lambda x: (x.score, x.pj, x.cycles), default=None)

    @staticmethod
    def _with(label: Label, branch: Way | Aside, cycles: float, score: float) -> Label:
        pj = label.pj + (branch.way.pj if isinstance(branch, Aside) else branch.pj)
        return Label(pj, label.cycles + cycles, label.score + score, label.before, label.way, branch)

    def _waits(self, stage: StageLayers, place: Place) -> list[Way]:
        return _pareto(way for ways in self.mapper.ways(stage.branch, place).values() for way in ways)

    def _window(self, number: int, place: Place, beside: bool) -> float:
        return self.mapper.aside(self.stages[number - 1].branch, place).window if beside else 0.0

    def _bounds(self) -> dict[Point, tuple[np.ndarray, np.ndarray]]:
        """The least energy and the least time from every point to every exit, each on its own."""
        count = len(self.shares)
        found: dict[Point, tuple[np.ndarray, np.ndarray]] = {}
        nothing = (np.zeros(count), np.zeros(count))
        for number in reversed(range(len(self.stages))):
            stage, k = self.stages[number], self.exit_of.get(number)
            for place in self._ends(number):
                after = found.get((number + 1, (place, False)), nothing)
                if k is None:
                    found[number, place] = after
                    continue
                waits = self._waits(stage, place)
                pj, cycles = min(w.pj for w in waits), min(w.cycles for w in waits)
                least = (after[0] + pj, after[1] + cycles)
                least[0][k], least[1][k] = pj, cycles
                during = found.get((number + 1, (place, True)))
                if during is not None:
                    aside = self.mapper.aside(stage.branch, place)
                    # There a sample of this exit leaves after the window, with the branch's energy at least.
                    least = (
                        np.minimum(least[0], during[0] + aside.way.pj), np.minimum(least[1], during[1] + aside.dram)
                    )  # fmt: skip
                found[number, place] = least
            for place, beside in self._reached[number]:
                window = self._window(number, place, beside)
                ways = self.mapper.ways(stage.backbone, place, window)
                least = (
                    np.min([min(w.pj for w in some) + found[number, out][0] for out, some in ways.items()], axis=0),
                    np.min([min(w.cycles for w in some) + found[number, out][1] for out, some in ways.items()], axis=0),
                )  # fmt: skip
                if beside:
                    awaited = self.exit_of[number - 1]
                    least[0][awaited], least[1][awaited] = 0.0, window
                found[number, (place, beside)] = least
        for place in self._ends(len(self.stages) - 1):
            found[len(self.stages), (place, False)] = nothing
        return found

    def _ends(self, number: int) -> set[Place]:
        """Where the output of a stage's backbone may lie."""
        stage = self.stages[number]
        return {
            out
            for place, beside in self._reached[number]
            for out in self.mapper.ways(stage.backbone, place, self._window(number, place, beside))
        }
