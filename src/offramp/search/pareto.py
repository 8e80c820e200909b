"""Dominance and hypervolume; everything is minimised."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def non_dominated(losses: ArrayLike) -> NDArray[np.int64]:
    """(P,), which rows of `losses` (N, M) no other row dominates, in order; of equal rows the first."""
    points = np.asarray(losses, dtype=float)
    kept = []
    for i, point in enumerate(points):
        no_worse = (points <= point).all(axis=1)
        better = no_worse & (points < point).any(axis=1)
        if not better.any() and not no_worse[:i].any():
            kept.append(i)
    return np.array(kept, dtype=np.int64)


def hypervolume(losses: ArrayLike, reference: ArrayLike) -> float:
    """Volume that the rows of `losses` (N, M) dominate, bounded by `reference` (M,); points beyond it count nothing."""
    from pymoo.indicators.hv import HV

    points, reference = np.asarray(losses, dtype=float), np.asarray(reference, dtype=float)
    points = points[(points < reference).all(axis=1)] if len(points) else points
    return float(HV(ref_point=reference)(points)) if len(points) else 0.0
