import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import offramp.data as data
from offramp.data._split import apportion, carve, keep, split_size

COUNTS = st.lists(st.integers(0, 60), min_size=1, max_size=12).filter(lambda counts: sum(counts) > 4)


@st.composite
def pools(draw):
    """Labels in some order, and sizes of splits that leave at least one image."""
    counts = draw(COUNTS)
    labels = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng(draw(st.integers(0, 99))).shuffle(labels)
    sizes, rest = [], len(labels) - 1
    for _ in range(draw(st.integers(1, 3))):
        if rest:
            sizes.append(draw(st.integers(1, rest)))
            rest -= sizes[-1]
    return labels, len(counts), sizes


@given(pools(), st.integers(0, 2**32))
def test_splits_cover_every_image_once(pool, seed):
    labels, classes, sizes = pool
    parts = carve(labels, classes, sizes, seed)
    assert [len(part) for part in parts[:-1]] == sizes
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))


@given(pools(), st.integers(0, 2**32))
def test_each_split_is_stratified_within_one_image(pool, seed):
    labels, classes, sizes = pool
    left = np.bincount(labels, minlength=classes)
    for part in carve(labels, classes, sizes, seed)[:-1]:
        counts = np.bincount(labels[part], minlength=classes)
        assert np.all(np.abs(counts - len(part) * left / left.sum()) < 1)
        left = left - counts


@given(pools(), st.integers(0, 2**32))
def test_the_seed_decides(pool, seed):
    labels, classes, sizes = pool
    first, again = carve(labels, classes, sizes, seed), carve(labels, classes, sizes, seed)
    assert all(np.array_equal(a, b) for a, b in zip(first, again))


def test_another_seed_gives_other_splits():
    labels = np.arange(1000) % 10
    assert not np.array_equal(carve(labels, 10, [100], 0)[0], carve(labels, 10, [100], 1)[0])


def test_an_earlier_split_does_not_depend_on_a_later_one():
    labels = np.arange(1000) % 7
    assert np.array_equal(carve(labels, 7, [100, 50], 0)[0], carve(labels, 7, [100, 333, 20], 0)[0])


@given(COUNTS, st.floats(0, 1))
def test_apportion_rounds_every_share_up_or_down(counts, share):
    size = round(share * sum(counts))
    found = apportion(np.array(counts), size)
    assert found.sum() == size
    assert np.all(found <= counts)
    assert np.all(np.abs(found - size * np.array(counts) / sum(counts)) < 1)


@given(pools(), st.integers(1, 400))
def test_keep_is_stratified_and_never_more_than_the_limit(pool, limit):
    labels, classes, _ = pool
    kept = keep(labels, classes, limit, seed=0)
    assert len(kept) == min(limit, len(labels))
    share = len(kept) * np.bincount(labels, minlength=classes) / len(labels)
    assert np.all(np.abs(np.bincount(labels[kept], minlength=classes) - share) < 1)


@pytest.mark.parametrize("wish, size", [(1, 1), (99, 99), (0.1, 10), (0.155, 16)])
def test_a_size_is_a_count_or_a_share(wish, size):
    assert split_size("select", wish, 100) == size


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_a_task_shares_no_image_between_its_splits(seed):
    task = data.task("digits", seed=seed)
    seen = [image.numpy().tobytes() for split in task.splits.values() for image in split.images]
    assert len(seen) == 1797
    assert len(set(seen)) == 1797  # no two of the digits are equal
    for split in task.splits.values():
        assert set(split.labels.tolist()) == set(range(10))


def test_a_limit_changes_the_train_split_only():
    full, small = data.task("digits"), data.task("digits", limit=100)
    assert len(small.train) == 100
    for name in ("select", "calibrate", "test"):
        assert full.splits[name].images.equal(small.splits[name].images)
    held = {image.numpy().tobytes() for image in full.train.images}
    assert all(image.numpy().tobytes() in held for image in small.train.images)
    assert data.task("digits", limit=10**6).fingerprint() == full.fingerprint()
