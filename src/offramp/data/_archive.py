"""The official CIFAR releases in their Python version: the .tar.gz as downloaded, or the folder inside it."""

import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from offramp.data._checksum import check_md5
from offramp.data._errors import DataError
from offramp.data._source import Labelled, labelled
from offramp.data._unpickle import read_pickle


@dataclass(frozen=True)
class Release:
    """What an official archive is called and holds: file names with their published MD5 sums."""

    archive: str
    archive_md5: str
    folder: str
    train: dict[str, str]
    test: dict[str, str]
    meta: dict[str, str]
    labels: bytes = b"labels"
    names: bytes = b"label_names"

    @property
    def files(self) -> dict[str, str]:
        """Every file that is read, with its MD5."""
        return self.train | self.test | self.meta


CIFAR10 = Release(
    archive="cifar-10-python.tar.gz",
    archive_md5="c58f30108f718f92721af3b95e74349a",
    folder="cifar-10-batches-py",
    train={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "40351d587109b95175f43aff81a1287e"},
    meta={"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
)
CIFAR100 = Release(
    archive="cifar-100-python.tar.gz",
    archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
    folder="cifar-100-python",
    train={"train": "16019d7e3df5f24257cddd939b257f8d"},
    test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    meta={"meta": "7973b15100ade9c7d40fb424638fde48"},
    labels=b"fine_labels",
    names=b"fine_label_names",
)


def read_release(path: Path, release: Release, verify: bool) -> tuple[tuple[str, ...], Labelled, Labelled]:
    """(class names, training images, test images) of an archive file or an unpacked folder."""
    contents = _read_folder(path, release, verify) if path.is_dir() else _read_tar(path, release, verify)
    classes = _class_names(path, contents, release)
    train, test = (
        _join([_images(path, contents, name, release, len(classes)) for name in part], path)
        for part in (release.train, release.test)
    )
    return classes, train, test


def _read_folder(folder: Path, release: Release, verify: bool) -> dict[str, bytes]:
    contents = {}
    for name, md5 in release.files.items():
        file = folder / name
        if not file.is_file():
            raise DataError(f"{file}: missing. Unpack {release.archive} again; {folder} needs {sorted(release.files)}.")
        if verify:
            check_md5(file, md5)
        contents[name] = file.read_bytes()
    return contents


def _read_tar(file: Path, release: Release, verify: bool) -> dict[str, bytes]:
    """The members wanted, read in memory: nothing is unpacked, so no member can be written anywhere."""
    if verify:
        check_md5(file, release.archive_md5)
    wanted = {f"{release.folder}/{name}": name for name in release.files}
    contents = {}
    try:
        with tarfile.open(file, "r:*") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.name.removeprefix("./") in wanted else None
                if stream is not None:
                    contents[wanted[member.name.removeprefix("./")]] = stream.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error, KeyError) as error:
        raise DataError(f"{file}: not a readable archive ({error}). Download it again.") from error
    if missing := sorted(set(wanted) - {f"{release.folder}/{name}" for name in contents}):
        raise DataError(f"{file}: lacks {missing}. Download it again.")
    return contents


def _class_names(path: Path, contents: dict[str, bytes], release: Release) -> tuple[str, ...]:
    (meta,) = release.meta
    names = _entry(read_pickle(contents[meta], f"{path}/{meta}"), release.names, f"{path}/{meta}")
    if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
        raise DataError(f"{path}/{meta}: {release.names.decode()} is not a list of names. Download it again.")
    return tuple(name.decode() if isinstance(name, bytes) else name for name in names)


def _images(path: Path, contents: dict[str, bytes], name: str, release: Release, classes: int) -> Labelled:
    origin = f"{path}/{name}"
    batch = read_pickle(contents[name], origin)
    data, labels = _entry(batch, b"data", origin), _entry(batch, release.labels, origin)
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != 3 * 32 * 32:
        raise DataError(f"{origin}: data is not an array of N x 3072 bytes. Download it again.")
    if not isinstance(labels, list) or not all(isinstance(label, int) for label in labels):
        raise DataError(f"{origin}: {release.labels.decode()} is not a list of whole numbers. Download it again.")
    return labelled(data.reshape(-1, 3, 32, 32), np.array(labels, np.int64), classes, origin)


def _entry(found: dict[bytes, Any], key: bytes, origin: str) -> Any:
    if key not in found:
        raise DataError(f"{origin}: has no entry {key.decode()!r}, only {sorted(found)}. Download it again.")
    return found[key]


def _join(parts: list[Labelled], path: Path) -> Labelled:
    return Labelled(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]), str(path))
