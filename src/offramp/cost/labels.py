"""Labels: networks mapped up to some point, and what a sample costs that leaves there."""

from __future__ import annotations

from typing import NamedTuple

from offramp.cost.mapper import Aside
from offramp.cost.ways import Way


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
