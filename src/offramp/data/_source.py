"""What a reader hands over: a data set as it lies on disk, checked but not yet split."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offramp.data._errors import DataError

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images, uint8 (N, C, H, W), with labels, int64 (N,), and the file or folder they came from."""

    images: Images
    labels: Labels
    origin: str


@dataclass(frozen=True, eq=False)
class Source:
    """A data set before it is split: training images, the official test images where there are any, and defaults."""

    classes: tuple[str, ...]
    train: Labelled
    test: Labelled | None
    flip: bool
    pad: int
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise DataError(
                f"{self.train.origin}: {len(self.classes)} class, {list(self.classes)}; a classifier tells at least 2 "
                "apart. Add images and labels of another class."
            )


@dataclass(frozen=True)
class Options:
    """The wishes that only some readers take."""

    size: tuple[int, int] | None = None
    coarse: bool = False
    extra: bool = False
    verify: bool = True


def labelled(images: NDArray[Any], labels: NDArray[Any], classes: int, origin: str | Path) -> Labelled:
    """Join images with labels; a DataError names `origin` where they do not fit each other or the classes."""
    if len(images) == 0:
        raise DataError(f"{origin}: no images. Check that this is the right file.")
    if labels.shape != (len(images),):
        raise DataError(f"{origin}: {len(images)} images but labels of shape {labels.shape}. Give one label an image.")
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{origin}: labels of type {labels.dtype}. Give whole numbers from 0.")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise DataError(
            f"{origin}: label {labels[wrong[0]]} of image {wrong[0]} is not in 0..{classes - 1} "
            f"({len(wrong)} such labels, {classes} classes). Correct the labels or the class names."
        )
    return Labelled(np.ascontiguousarray(images, np.uint8), labels.astype(np.int64), str(origin))
