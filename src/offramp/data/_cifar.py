"""CIFAR-10 and CIFAR-100, in whichever of their forms lies under the root."""

from dataclasses import dataclass, replace
from pathlib import Path

from offramp.data._archive import CIFAR10, CIFAR100, Release, read_release
from offramp.data._errors import DataError
from offramp.data._packed import read_info, read_packed
from offramp.data._source import Options, Source

_OFFICIAL_TEST = 10_000


@dataclass(frozen=True)
class _Set:
    """One way to label the images: the packed folder, the official release, the number of classes."""

    folder: str
    release: Release
    classes: int
    coarse: bool = False


_TEN = _Set("cifar10", CIFAR10, 10)
_FINE = _Set("cifar100", CIFAR100, 100)
_COARSE = _Set(
    "cifar100", replace(CIFAR100, labels=b"coarse_labels", names=b"coarse_label_names"), classes=20, coarse=True
)


def read_cifar10(root: Path, options: Options) -> Source:
    """CIFAR-10."""
    return _read(root, _TEN, options)


def read_cifar100(root: Path, options: Options) -> Source:
    """CIFAR-100, by its 100 fine classes, or with `coarse` by the 20 classes that they fall into."""
    return _read(root, _COARSE if options.coarse else _FINE, options)


def _read(root: Path, wanted: _Set, options: Options) -> Source:
    source = _first_found(root, wanted, options)
    if len(source.classes) != wanted.classes:
        raise DataError(
            f"{source.train.origin}: {len(source.classes)} class names, but {wanted.folder} has {wanted.classes}. "
            "Is this another data set?"
        )
    return source


def _first_found(root: Path, wanted: _Set, options: Options) -> Source:
    packed = [root / wanted.folder / "info.json", root / "info.json"]
    official = [
        base / name for base in (root, root / wanted.folder) for name in (wanted.release.archive, wanted.release.folder)
    ]
    for file in packed:
        if file.is_file():
            return _from_packed(file.parent, wanted)
    for path in official:
        if path.exists():
            return _from_release(path, wanted, options.verify)
    looked = "\n  ".join(str(path) for path in packed + official)
    raise DataError(
        f"{wanted.folder}: not found. Looked for\n  {looked}\n"
        f"Put {wanted.release.archive} (https://www.cs.toronto.edu/~kriz/cifar.html) there, or set data.root in the "
        "recipe or the environment variable OFFRAMP_DATA to the folder that holds it."
    )


def _from_packed(folder: Path, wanted: _Set) -> Source:
    info = read_info(folder)
    key = "superclasses" if wanted.coarse else "classes"
    classes = info.get(key)
    if not isinstance(classes, list):
        raise DataError(f"{folder / 'info.json'}: no list of names under {key!r}. Copy the folder again.")
    train, test = (
        read_packed(folder, split, classes=len(classes), coarse=wanted.coarse) for split in ("train", "test")
    )
    notes = []
    if len(test.labels) != _OFFICIAL_TEST:
        notes.append(f"test: {len(test.labels):,} of the official {_OFFICIAL_TEST:,} images")
    return Source(tuple(map(str, classes)), train, test, flip=True, pad=4, notes=tuple(notes))


def _from_release(path: Path, wanted: _Set, verify: bool) -> Source:
    classes, train, test = read_release(path, wanted.release, verify)
    return Source(classes, train, test, flip=True, pad=4)
