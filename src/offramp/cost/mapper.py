"""Chains of layers mapped to cores: the Pareto ways to run them, and branches beside the next stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from offramp.cost.cores import Choice, Cores
from offramp.cost.links import Place
from offramp.cost.splits import WHOLE
from offramp.cost.ways import NOTHING, Way, extended, pareto
from offramp.layers import Layer, Shape

_KEPT = 10_000
"""Ways through chains of layers that are remembered before they are found anew."""


class Alive(NamedTuple):
    """Where the maps lie that are still needed: the one just made, a residual, what squeeze-excite will scale."""

    now: Place
    residual: Place | None = None
    wide: Place | None = None

    def before(self, layers: Sequence[Layer], number: int) -> Alive:
        """What is needed from layer `number` on: a block begins anew, and keeps its input where it is added later."""
        layer, alive = layers[number], self
        if number == 0 or _block(layers[number - 1]) != _block(layer):
            adds = any(x.op == "add" and _block(x) == _block(layer) for x in layers[number:])
            alive = Alive(self.now, self.now if adds else None)
        return alive._replace(wide=self.now) if layer.name.endswith("squeeze.pool") else alive


class Aside(NamedTuple):
    """A branch on the spare core beside the next stage; `dram` cycles of its `way` it keeps the DRAM busy."""

    way: Way
    dram: float

    @property
    def window(self) -> float:
        """For how long the next stage runs before the branch has decided."""
        return self.way.cycles - self.dram


class Mapper:
    """Ways to run chains of layers on `cores`; everything found is kept for the next network."""

    def __init__(self, cores: Cores) -> None:
        self.cores = cores
        self._ways: dict[object, dict[Place, list[Way]]] = {}
        self._asides: dict[object, Aside] = {}

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
        states: dict[Alive, list[Way]] = {Alive(have): [NOTHING]}
        for number, layer in enumerate(layers):
            grown: dict[Alive, list[Way]] = defaultdict(list)
            for alive, known in states.items():
                for choice, after in self._next(layer, alive.before(layers, number)):
                    for way in known:
                        grown[after] += extended(way, layer, choice, window, self.cores.spare)
            states = {alive: pareto(found) for alive, found in grown.items()}
        ended: dict[Place, list[Way]] = defaultdict(list)
        for alive, known in states.items():
            ended[alive.now] += [way._replace(cycles=max(way.cycles, window)) for way in known]
        return {place: pareto(found) for place, found in ended.items()}

    def _next(self, layer: Layer, alive: Alive) -> list[tuple[Choice, Alive]]:
        """Every way to run `layer`, and what is alive then."""
        if layer.op == "add":
            assert alive.residual is not None
            choice = self.cores.vector(layer, alive.now, (layer.shape_in, alive.residual))
            return [(choice, Alive(choice.out))]
        if layer.op == "scale":
            assert alive.wide is not None
            choice = self.cores.vector(layer, alive.wide, (Shape(layer.shape_in.channels, 1, 1), alive.now))
            return [(choice, Alive(choice.out, alive.residual))]
        return [(choice, alive._replace(now=choice.out)) for choice in self.cores.choices(layer, alive.now)]

    def aside(self, layers: Sequence[Layer], have: Place) -> Aside:
        """A branch beside the next stage: convolutions and linear layers whole on the spare core."""
        key = (tuple(layers), have)
        if key not in self._asides:
            self._asides[key] = self._find_aside(layers, have)
        return self._asides[key]

    def _find_aside(self, layers: Sequence[Layer], have: Place) -> Aside:
        alive, dram, way, spare = Alive(have), 0.0, NOTHING, self.cores.spare
        for number, layer in enumerate(layers):
            alive = alive.before(layers, number)
            if layer.op in ("conv", "linear"):
                choice, alive = self.cores.run(layer, WHOLE, alive.now, spare), alive._replace(now=spare)
            else:
                ((choice, alive),) = self._next(layer, alive)
            dram += choice.dram
            (way,) = extended(way, layer, choice, 0.0, spare)
        return Aside(way, min(dram, way.cycles))


def _block(layer: Layer) -> str:
    """The block that a layer is in, such as `blocks.0`."""
    return ".".join(layer.name.split(".")[:2])
