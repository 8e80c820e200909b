"""From a data set's name to a `Task`."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from offramp.data._augment import Augment
from offramp.data._cifar import read_cifar10, read_cifar100
from offramp.data._digits import read_digits
from offramp.data._errors import DataError
from offramp.data._folder import read_class_folders, read_folder
from offramp.data._npz import read_npz, read_npz_split
from offramp.data._source import Labelled, Options, Source
from offramp.data._split import Indices, carve, check_classes, keep, split_size
from offramp.data._svhn import read_svhn
from offramp.data._task import Split, Task

ROOT_VARIABLE = "OFFRAMP_DATA"
_SELECT, _CALIBRATE = 0.1, 0.1  # of the training images, where the test images are given
_SELECT_OF_ALL, _CALIBRATE_OF_ALL, _TEST_OF_ALL = 0.15, 0.1, 0.2  # of all images, where they are not


@dataclass(frozen=True)
class _Reader:
    """How a data set is read; `takes` names the options that mean something to it."""

    read: Callable[[Path, Options], Source]
    takes: frozenset[str] = frozenset()
    place: str = "collection"  # "none": no files; "collection": a folder of data sets; "own": its own file or folder


_READERS = {
    "digits": _Reader(read_digits, place="none"),
    "cifar10": _Reader(read_cifar10, frozenset({"verify"})),
    "cifar100": _Reader(read_cifar100, frozenset({"verify", "coarse"})),
    "svhn": _Reader(read_svhn, frozenset({"verify", "extra"})),
    "folder": _Reader(read_folder, frozenset({"size"}), place="own"),
    "npz": _Reader(read_npz, place="own"),
}


def names() -> tuple[str, ...]:
    """The data sets that `task` knows."""
    return tuple(_READERS)


def task(
    name: str,
    root: str | Path | None = None,
    *,
    seed: int = 0,
    select: int | float | None = None,
    calibrate: int | float | None = None,
    test: int | float | None = None,
    limit: int | None = None,
    flip: bool | None = None,
    pad: int | None = None,
    size: tuple[int, int] | None = None,
    coarse: bool = False,
    extra: bool = False,
    verify: bool = True,
) -> Task:
    """Read a data set and split it, stratified by class and seeded.

    `root` is the folder that holds data sets (default: the environment variable OFFRAMP_DATA), for "folder" and "npz"
    the folder or file itself. `select`, `calibrate`, `test` are counts (int) or shares (float): of the training images
    where the set has test images of its own (default 0.1 and 0.1, no `test`), else of all images (0.15, 0.1, 0.2).
    `limit` keeps that many of the train split, and changes no other split. `flip` and `pad` override the data set's
    own augmentation. `size` (height, width) is for "folder", `coarse` for "cifar100", `extra` for "svhn";
    `verify=False` accepts archives whose checksum is not the published one.
    """
    reader = _reader(name)
    options = _options(name, reader, Options(size=size, coarse=coarse, extra=extra, verify=verify))
    source = reader.read(_place(name, root, reader), options)
    parts = _split(source, seed, select, calibrate, test)
    labels, origins = ({name: getattr(part, what) for name, part in parts.items()} for what in ("labels", "origin"))
    check_classes(labels, source.classes, origins)
    if limit is not None:
        parts["train"] = _limited(parts["train"], source.classes, limit, seed)
    augment = Augment(source.flip if flip is None else flip, source.pad if pad is None else pad)
    notes = (*source.notes, *_repeated(parts))
    splits = {part: _tensors(found) for part, found in parts.items()}
    return Task(name=name, classes=source.classes, augment=augment, notes=notes, **splits)


def told_where(name: str, root: str | Path | None = None) -> bool:
    """Whether it is said where the files of a data set are, as far as it has any."""
    return root is not None or _reader(name).place != "collection" or bool(os.environ.get(ROOT_VARIABLE))


def read_split(path: str | Path, classes: tuple[str, ...], input: tuple[int, int, int]) -> Split:
    """Labelled images of known classes from a folder with one sub-folder per class, or an .npz; for evaluation."""
    path, classes = Path(path).expanduser(), tuple(classes)
    if path.is_dir():
        return _tensors(read_class_folders(path, classes, input))
    found = read_npz_split(path, classes)
    if found.images.shape[1:] != tuple(input):
        raise DataError(f"{path}: images of shape {found.images.shape[1:]}, but the network takes {tuple(input)}.")
    return _tensors(found)


def _reader(name: str) -> _Reader:
    if name not in _READERS:
        raise DataError(
            f"data set {name!r}: unknown. Choose one of {', '.join(_READERS)}; your own images: folder or npz."
        )
    return _READERS[name]


def _options(name: str, reader: _Reader, options: Options) -> Options:
    """The options, or a DataError where one would have no effect. `verify` may always be given."""
    for option in ("size", "coarse", "extra"):
        if getattr(options, option) and option not in reader.takes:
            takers = [other for other, known in _READERS.items() if option in known.takes]
            raise DataError(
                f"{option}={getattr(options, option)}: not an option of {name!r}, only of {takers}. Leave it out."
            )
    if options.size is not None and (len(options.size) != 2 or min(options.size) < 1):
        raise DataError(f"size={options.size}: give (height, width) in pixels.")
    return options if options.size is None else replace(options, size=(int(options.size[0]), int(options.size[1])))


def _place(name: str, root: str | Path | None, reader: _Reader) -> Path:
    if reader.place == "none":
        return Path()
    if root is not None:
        return Path(root).expanduser()
    if reader.place == "own":
        raise DataError(f"data set {name!r}: set root (data.root in the recipe) to the {name} to read.")
    if not os.environ.get(ROOT_VARIABLE):
        raise DataError(
            f"data set {name!r}: no folder given. Set data.root in the recipe (root in Python), or the environment "
            f"variable {ROOT_VARIABLE}, to the folder that holds {name}."
        )
    return Path(os.environ[ROOT_VARIABLE]).expanduser()


def _split(
    source: Source, seed: int, select: int | float | None, calibrate: int | float | None, test: int | float | None
) -> dict[str, Labelled]:
    """The four parts by name; the official test images stay the test split where there are any."""
    official = source.test is not None
    if official and test is not None:
        raise DataError(f"test={test}: {source.train.origin} has test images of its own. Leave test out.")
    wishes = {} if official else {"test": _TEST_OF_ALL if test is None else test}
    wishes["select"] = (_SELECT if official else _SELECT_OF_ALL) if select is None else select
    wishes["calibrate"] = (_CALIBRATE if official else _CALIBRATE_OF_ALL) if calibrate is None else calibrate
    sizes = [split_size(name, wish, len(source.train.labels)) for name, wish in wishes.items()]
    carved = carve(source.train.labels, len(source.classes), sizes, _checked_seed(seed))
    parts = {name: _take(source.train, chosen) for name, chosen in zip([*wishes, "train"], carved)}
    return parts | ({"test": source.test} if source.test is not None else {})


def _repeated(parts: dict[str, Labelled]) -> Iterator[str]:
    """How many images of a split are also in one that is looked at before it, as of bursts and collected photos."""
    seen: set[bytes] = set()
    before: list[str] = []
    for part in ("train", "select", "calibrate", "test"):
        pixels = [hashlib.blake2b(image, digest_size=16).digest() for image in parts[part].images]
        if again := sum(image in seen for image in pixels):
            where = " or ".join([", ".join(before[:-1]), before[-1]] if before[1:] else before)
            yield f"{part}: {again} of {len(pixels)} images are, pixel for pixel, also in {where}"
        seen.update(pixels)
        before.append(part)


def _checked_seed(seed: int) -> int:
    if seed < 0:
        raise DataError(f"seed={seed}: give 0 or more.")
    return seed


def _limited(train: Labelled, classes: tuple[str, ...], limit: int, seed: int) -> Labelled:
    needed = "Every class needs an image to train on"
    if limit < len(classes):
        raise DataError(f"limit={limit}: fewer than the {len(classes)} classes. {needed}.")
    kept = _take(train, keep(train.labels, len(classes), limit, seed))
    absent = [name for i, name in enumerate(classes) if i not in kept.labels]
    if absent:
        rare = f"{absent[:5]}{' ...' if absent[5:] else ''}"
        raise DataError(f"limit={limit}: keeps no image of {rare}, so few are there. {needed}: make it larger.")
    return kept


def _take(found: Labelled, chosen: Indices) -> Labelled:
    return Labelled(found.images[chosen], found.labels[chosen], found.origin)


def _tensors(found: Labelled) -> Split:
    return Split(torch.from_numpy(np.ascontiguousarray(found.images)), torch.from_numpy(found.labels))
