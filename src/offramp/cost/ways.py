"""Ways through a chain of layers, grown layer by layer: what runs where and when, and which are worth keeping."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from offramp.cost.cores import Choice
from offramp.cost.links import Place
from offramp.layers import Layer


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


NOTHING = Way(0.0, 0.0, 0.0, None)
"""No layer has run."""


def extended(way: Way, layer: Layer, choice: Choice, window: float, spare: Place) -> list[Way]:
    """`way` with one layer more: started at once, and, where a decision is awaited until `window`, after it.

    Until then the core `spare` is taken.
    """
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


def pareto(ways: Iterable[Way]) -> list[Way]:
    """Those that no other beats in energy, time and early energy."""
    kept: list[Way] = []
    for way in sorted(ways, key=lambda w: w[:3]):
        if not any(k.cycles <= way.cycles and k.early_pj <= way.early_pj for k in kept):
            kept.append(way)
    return kept
