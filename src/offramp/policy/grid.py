"""The grids that a tuned policy is never worse than."""

import numpy as np
from numpy.typing import NDArray

from offramp.policy.archive import Archive
from offramp.policy.climb import point
from offramp.policy.confidence import find
from offramp.policy.lattice import Ranks
from offramp.policy.table import ScoreTable

GRID_VALUES = 9
GRID_AXES = 4


def quantile_grid(table: ScoreTable, measure: str, values: int = GRID_VALUES) -> NDArray[np.float64]:
    """(E - 1, values) thresholds: at each exit the quantiles 1/(values + 1), 2/(values + 1), ... of its scores."""
    shares = np.arange(1, values + 1) / (values + 1)
    return np.quantile(table.scores(measure)[:, :-1].astype(np.float64), shares, axis=0).T


def even_grid(table: ScoreTable, measure: str, values: int = GRID_VALUES) -> NDArray[np.float64]:
    """(E - 1, values) thresholds, spaced evenly over what the measure can give: 0.1, ..., 0.9 for a probability."""
    low, high = find(measure).span(table.classes)
    return np.tile(np.linspace(low, high, values + 2)[1:-1], (table.exits - 1, 1))


def try_grids(archive: Archive, table: ScoreTable) -> None:
    """Evaluate both grids whole: 9 values per exit up to 4 thresholds, fewer values beyond, nothing beyond 8."""
    axes = archive.lattice.axes
    values = GRID_VALUES if axes <= GRID_AXES else int((GRID_VALUES**GRID_AXES) ** (1 / axes) + 1e-9)
    if axes == 0 or axes > 2 * GRID_AXES:
        return
    measure = archive.lattice.ranking.measure
    for grid in (quantile_grid(table, measure, values), even_grid(table, measure, values)):
        archive.evaluate([np.unique(ranks) for ranks in archive.lattice.ranking.ranks(grid)])


def try_each_exit(archive: Archive) -> list[Ranks]:
    """Evaluate, for each exit, that everybody leaves there; the E rank vectors (E - 1,)."""
    sizes = np.array(archive.lattice.ranking.sizes, dtype=np.int64)
    starts = [np.where(np.arange(len(sizes)) == e, sizes, 0) for e in range(len(sizes) + 1)]
    for ranks in starts:
        point(archive, ranks)
    return starts
