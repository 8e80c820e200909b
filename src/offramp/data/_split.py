"""Stratified, seeded, disjoint splits of labelled images."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from offramp.data._errors import DataError

Indices = NDArray[np.int64]


def split_size(name: str, wish: int | float, total: int) -> int:
    """A wish, a count (int) or a share of `total` (float), as a count."""
    if isinstance(wish, bool) or not isinstance(wish, int | float):
        raise DataError(f"{name}={wish!r}: give a count (5000) or a share (0.1).")
    if isinstance(wish, float) and not 0 < wish < 1:
        raise DataError(f"{name}={wish}: a share lies between 0 and 1; write a count without a point.")
    size = wish if isinstance(wish, int) else round(wish * total)
    if not 1 <= size < total:
        raise DataError(
            f"{name}={wish}: {size} of {total} images; a split takes at least 1 and leaves some to train on."
        )
    return size


def carve(labels: Indices, classes: int, sizes: Sequence[int], seed: int) -> list[Indices]:
    """Indices of each carved split, then those left over, which train; each sorted.

    Every split takes its classes in proportion to what is left when its turn comes, within one image. An earlier split
    does not depend on a later one's size.
    """
    if sum(sizes) >= len(labels):
        raise DataError(
            f"splits of {list(sizes)} images ask for {sum(sizes)} of {len(labels)}. Leave some to train on."
        )
    order = np.random.default_rng(seed).permutation(len(labels))
    queues = [order[labels[order] == label] for label in range(classes)]
    carved = []
    for size in sizes:
        taken = apportion(np.array([len(queue) for queue in queues]), size)
        carved.append(np.sort(np.concatenate([queue[:n] for queue, n in zip(queues, taken)])))
        queues = [queue[n:] for queue, n in zip(queues, taken)]
    return [*carved, np.sort(np.concatenate(queues))]


def keep(labels: Indices, classes: int, limit: int, seed: int) -> Indices:
    """Indices of at most `limit` samples, stratified."""
    if limit >= len(labels):
        return np.arange(len(labels))
    return carve(labels, classes, [limit], seed)[0]


def apportion(counts: Indices, size: int) -> Indices:
    """Share `size` among classes by largest remainder: each gets its exact proportion rounded down or up."""
    exact = size * counts / counts.sum()
    floor = np.floor(exact).astype(np.int64)
    largest = np.argsort(floor - exact, kind="stable")[: size - floor.sum()]
    floor[largest] += 1
    return floor


def check_classes(labels: Mapping[str, Indices], classes: Sequence[str], origins: Mapping[str, str]) -> None:
    """Raise a DataError where a class is absent from a split.

    Args:
        labels: of each split.
        classes: their names.
        origins: where each split is from.
    """
    counts = {name: np.bincount(of, minlength=len(classes)) for name, of in labels.items()}
    for name, found in counts.items():
        absent = [i for i in range(len(classes)) if found[i] == 0]
        if not absent:
            continue
        first, smaller = absent[0], [other for other in counts if other != "train"]
        total = sum(int(there[first]) for there in counts.values())
        if total < len(counts):
            advice = "add images of that class, or leave it out"
        elif name == "train":
            advice = f"make {', '.join(smaller[:-1])} or {smaller[-1]} smaller"
        else:
            advice = f"make {name} larger, or add images of that class"
        named = f"{[classes[i] for i in absent[:5]]}{' ...' if len(absent) > 5 else ''}"
        raise DataError(
            f"{origins[name]}: no image of {named} in the {name} split of {len(labels[name])} images, "
            f"{len(classes)} classes. Every class must be in all {len(counts)} splits, and {classes[first]!r} has "
            f"{total} images in all: {advice}."
        )
