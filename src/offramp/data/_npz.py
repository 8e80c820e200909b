"""Arrays in an .npz file."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offramp.data._errors import DataError
from offramp.data._source import Labelled, Options, Source, labelled

_PLAIN, _TRAIN, _TEST = ("images", "labels"), ("x_train", "y_train"), ("x_test", "y_test")
_MOST_CHANNELS = 4


def read_npz(file: Path, options: Options) -> Source:
    """`images` and `labels`, or `x_train`, `y_train` and perhaps `x_test`, `y_test`; perhaps `classes`, their names."""
    arrays = _load(file)
    pair = next((pair for pair in (_PLAIN, _TRAIN) if set(pair) <= set(arrays)), None)
    if pair is None:
        raise DataError(f"{file}: has the arrays {sorted(arrays)}; needs images and labels, or x_train and y_train.")
    has_test = pair == _TRAIN and set(_TEST) <= set(arrays)
    unused = sorted(set(arrays) & {*_PLAIN, *_TRAIN, *_TEST} - {*pair, *(_TEST if has_test else ())})
    if any(set(other) <= set(unused) for other in (_TRAIN, _TEST)):
        raise DataError(
            f"{file}: has {', '.join(unused)} beside {' and '.join(pair)}, and they would not be read. Give images and "
            "labels, or x_train, y_train, x_test and y_test."
        )
    notes = (f"{file}: not read: {', '.join(unused)}",) if unused else ()
    labels = _labels(arrays, pair[1], file)
    classes = _classes(arrays, labels, file)
    train = labelled(_images(arrays, pair[0], file), labels, len(classes), file)
    test = _pair(arrays, _TEST, len(classes), file) if has_test else None
    if test is not None and test.images.shape[1:] != train.images.shape[1:]:
        raise DataError(
            f"{file}: x_test holds images of shape {test.images.shape[1:]}, x_train {train.images.shape[1:]}."
        )
    return Source(classes, train, test, flip=True, pad=max(1, train.images.shape[2] // 8), notes=notes)


def read_npz_split(file: Path, classes: tuple[str, ...]) -> Labelled:
    """The test arrays of the file where it has them, else its only arrays.

    Where it names its classes, its labels are brought to the numbers that `classes` have.
    """
    arrays = _load(file)
    if lonely := [name for name in _TEST if name in arrays and not set(_TEST) <= set(arrays)]:
        raise DataError(f"{file}: has {lonely[0]} and not both of {' and '.join(_TEST)}. Give both, or neither.")
    for pair in (_TEST, _PLAIN, _TRAIN):
        if set(pair) <= set(arrays):
            return _renumbered(arrays, _pair(arrays, pair, len(_named(arrays, file) or classes), file), classes, file)
    raise DataError(f"{file}: has the arrays {sorted(arrays)}; needs images and labels, or x_test and y_test.")


def _renumbered(arrays: dict[str, NDArray[Any]], found: Labelled, classes: tuple[str, ...], file: Path) -> Labelled:
    named = _named(arrays, file)
    unnamed = classes == tuple(map(str, range(len(classes))))
    if named is None or (unnamed and len(named) == len(classes) and not set(named) & set(classes)):
        return found  # the one or the other goes by numbers alone
    present = set(found.labels.tolist())
    if unknown := sorted(name for i, name in enumerate(named) if i in present and name not in classes):
        raise DataError(f"{file}: its classes {unknown} are not among those of the network, {list(classes)}.")
    numbers = np.array([classes.index(name) if name in classes else -1 for name in named], np.int64)
    return Labelled(found.images, numbers[found.labels], found.origin)


def _pair(arrays: dict[str, NDArray[Any]], pair: tuple[str, str], classes: int, file: Path) -> Labelled:
    return labelled(_images(arrays, pair[0], file), _labels(arrays, pair[1], file), classes, file)


def _load(file: Path) -> dict[str, NDArray[Any]]:
    if not file.is_file():
        raise DataError(f"{file}: no such file. Set data.root to the .npz file.")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # numpy, zipfile and zlib each raise their own
        raise DataError(
            f"{file}: not a readable .npz of plain arrays ({error}). Write it again with numpy.savez."
        ) from error


def _images(arrays: dict[str, NDArray[Any]], key: str, file: Path) -> NDArray[np.uint8]:
    """(N, H, W), (N, H, W, C) or (N, C, H, W) -> (N, C, H, W)."""
    images = arrays[key]
    if images.dtype != np.uint8:
        raise DataError(f"{file}: {key} is {images.dtype}; images are uint8. Bring the pixels to 0..255 and convert.")
    if 0 in images.shape[1:]:
        raise DataError(f"{file}: {key} has shape {images.shape}; images have at least one pixel.")
    if images.ndim == 3:
        return images[:, None]
    first, last = (images.ndim == 4 and images.shape[axis] <= _MOST_CHANNELS for axis in (1, 3))
    if first == last:
        raise DataError(
            f"{file}: {key} has shape {images.shape}; give (N, H, W), (N, H, W, C) or (N, C, H, W) with at most "
            f"{_MOST_CHANNELS} channels and larger images."
        )
    return images if first else images.transpose(0, 3, 1, 2)


def _labels(arrays: dict[str, NDArray[Any]], key: str, file: Path) -> NDArray[Any]:
    labels = arrays[key]
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels  # Keras writes (N, 1)


def _named(arrays: dict[str, NDArray[Any]], file: Path) -> tuple[str, ...] | None:
    """The names that the file gives its classes; None where it gives none."""
    if "classes" not in arrays:
        return None
    names = tuple(n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in arrays["classes"].flat)
    if not names:
        raise DataError(f"{file}: classes is empty. Give the names of all classes, or leave it out.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{file}: classes has {twice} more than once. Give every class a name of its own.")
    return names


def _classes(arrays: dict[str, NDArray[Any]], labels: NDArray[Any], file: Path) -> tuple[str, ...]:
    if (named := _named(arrays, file)) is not None:
        return named
    if labels.size == 0 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{file}: labels are {labels.dtype} of shape {labels.shape}. Give whole numbers from 0, one an image."
        )
    wrong = labels.min() if labels.min() < 0 else labels.max()
    if not 0 <= wrong < labels.size:  # also keeps a wild label from asking for a billion class names
        raise DataError(f"{file}: label {wrong} among {labels.size} images. Number the classes from 0 without gaps.")
    return tuple(str(label) for label in range(int(labels.max()) + 1))
