"""A bound on a cost as part of the cost itself: NACHOS' objective F_CM (arXiv 2401.13330, eq. 19)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from offramp.search.problem import Problem

DOMINATIONS = ("feasibility", "penalty")


def penalised(cost: NDArray[np.float64], bound: float, phi: float) -> NDArray[np.float64]:
    """F_CM = phi F_M + (1 - phi) max(0, F_M - M_max), in the unit of the cost (eq. 19).

    While nothing keeps the bound (phi = 0) only the excess counts; when everything does (phi = 1), the cost itself.

    Args:
        cost: any shape, F_M.
        bound: M_max, in the same unit.
        phi: share of the population that keeps the bound, 0..1.
    """
    return phi * cost + (1 - phi) * np.maximum(0.0, cost - bound)


def capped(problem: Problem) -> dict[int, float]:
    """Objective's column -> its bound, for the minimised objectives that a constraint bounds from above."""
    found: dict[int, float] = {}
    for column, name in enumerate(problem.objectives):
        bounds = [c.bound for c in problem.constraints if c.metric == name and c.caps]
        if bounds:
            found[column] = min(bounds)
    return found


def remaining(problem: Problem) -> list[int]:
    """Columns of the constraints that `capped` does not cover: they stay constraints."""
    names = {problem.objectives[column] for column in capped(problem)}
    return [i for i, c in enumerate(problem.constraints) if not (c.caps and c.metric in names)]
