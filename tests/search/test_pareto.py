import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from offramp.search import hypervolume, non_dominated

# Few distinct values, so that equal points and ties are common.
POINTS = st.integers(1, 3).flatmap(
    lambda m: hnp.arrays(float, st.tuples(st.integers(1, 12), st.just(m)), elements=st.sampled_from(np.arange(6.0)))
)


def dominates(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a <= b).all() and (a < b).any())


@given(POINTS)
def test_non_dominated_by_definition(points: np.ndarray) -> None:
    kept = non_dominated(points)
    front = {tuple(p) for p in points if not any(dominates(q, p) for q in points)}
    assert [tuple(points[i]) for i in kept] == list(dict.fromkeys(tuple(p) for p in points if tuple(p) in front))


@given(POINTS)
def test_hypervolume_by_counting_unit_cubes_and_by_moocore(points: np.ndarray) -> None:
    m, reference = points.shape[1], 5.0
    cubes = np.stack(np.meshgrid(*[np.arange(5.0)] * m, indexing="ij"), -1).reshape(-1, m)
    covered = (points[None] <= cubes[:, None]).all(-1).any(-1).sum()
    assert hypervolume(points, [reference] * m) == pytest.approx(covered)
    assert hypervolume(points, [reference] * m) == pytest.approx(moocore.hypervolume(points, ref=[reference] * m))


def test_hypervolume_of_nothing_and_of_points_beyond_the_reference() -> None:
    assert hypervolume(np.empty((0, 2)), [1, 1]) == 0
    assert hypervolume([[0.5, 2.0]], [1, 1]) == 0
