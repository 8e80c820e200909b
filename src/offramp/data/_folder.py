"""A folder of image files with one sub-folder per class."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from offramp.data._errors import DataError, ImageError, unreadable
from offramp.data._source import Images, Labelled, Options, Source, labelled
from offramp.data.image import SUFFIXES, image_header, is_image, read_with_peak

_TWELVE_BITS = 4096
_SHOWN = 20  # of the images that cannot be read
_FOLDERS_SHOWN = 5  # of those in which something is passed over


def read_folder(root: Path, options: Options) -> Source:
    """`root/<class>/*.png`, or `root/train/<class>/` beside `root/test/<class>/`, which then is the test split."""
    parts = [root / "train", root / "test"] if (root / "train").is_dir() and (root / "test").is_dir() else [root]
    classes = class_folders(parts[0])
    if len(classes) < 2:
        raise DataError(
            f"{parts[0]}: {len(classes)} class folders. Make one sub-folder of images per class, at least two."
        )
    listed = [_list_images(part, classes) for part in parts]
    input = _common_input([file for files, _ in listed for file in files], options.size)
    images = _read_parts([files for files, _ in listed], input)
    found = [labelled(read, labels, len(classes), part) for read, (_, labels), part in zip(images, listed, parts)]
    notes = tuple(_passed_over(root, parts, classes))
    test = found[1] if len(found) > 1 else None
    return Source(classes, found[0], test, flip=True, pad=max(1, input[1] // 8), notes=notes)


def read_class_folders(root: Path, classes: tuple[str, ...], input: tuple[int, int, int]) -> Labelled:
    """`root/<class>/*.png` for classes already known; a class may be absent, but none may be new."""
    files, labels = _list_images(root, classes)
    return labelled(_read_parts([files], input)[0], labels, len(classes), root)


def class_folders(root: Path) -> tuple[str, ...]:
    """The names of the class folders in `root`, sorted."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. Set data.root to a folder with one sub-folder of images per class.")
    return tuple(sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")))


def _passed_over(root: Path, parts: list[Path], classes: tuple[str, ...]) -> Iterator[str]:
    """What lies among the images and is not read, such as photos in another format or one folder deeper."""
    beside = sorted({path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")})
    if len(parts) > 1 and (others := [name for name in beside if name not in ("train", "test")]):
        yield f"{root}: read are train/ and test/; not read: {', '.join(f'{name}/' for name in others)}"
    found = []
    for folder in [part / name for part in parts for name in classes if (part / name).is_dir()]:
        here = [path for path in folder.iterdir() if not path.name.startswith(".")]
        files = [path for path in here if not path.is_dir()]
        kinds = Counter(path.suffix.lower() or path.name for path in files if not is_image(path))
        left = [f"{count} {kind}" for kind, count in sorted(kinds.items())]
        if left := [*left, *sorted(f"{path.name}/" for path in here if path.is_dir())]:
            read = sum(map(is_image, files))
            found.append(f"in {folder.relative_to(root)} {read} images, not read {', '.join(left)}")
    if found:
        more = f"; and in {len(found) - _FOLDERS_SHOWN} more" if found[_FOLDERS_SHOWN:] else ""
        yield f"{root}: only images right inside the class folders are read: {'; '.join(found[:_FOLDERS_SHOWN])}{more}"


def _list_images(root: Path, classes: tuple[str, ...]) -> tuple[list[Path], np.ndarray]:
    """Image files in a fixed order, and their labels."""
    if unknown := set(class_folders(root)) - set(classes):
        raise DataError(
            f"{root}: class folders {sorted(unknown)} are not among the classes {list(classes)}. Rename or move them."
        )
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(path for path in (root / name).glob("*") if is_image(path) and path.is_file())
        files += found
        labels += [label] * len(found)
    if not files:
        raise DataError(
            f"{root}: no images right inside its folders {list(classes)}. Images end in {' '.join(sorted(SUFFIXES))}; "
            "a set that is split already has both train/ and test/, each with the class folders."
        )
    return files, np.array(labels, np.int64)


def _common_input(files: list[Path], size: tuple[int, int] | None) -> tuple[int, int, int]:
    """(C, H, W): one channel where every image is grey; `size`, or the size that all share."""
    try:
        headers = [image_header(file) for file in files]
    except ImageError:
        _read_parts([files], (1, 1, 1))  # raises for all that are unreadable, the pixels' errors included
        raise
    channels = 1 if all(grey for grey, _ in headers) else 3
    if size is not None:
        return channels, *size
    for file, (_, shape) in zip(files, headers):
        if shape != headers[0][1]:
            raise DataError(
                f"{file}: {shape[0]} x {shape[1]} (height x width), but {files[0]} is {headers[0][1][0]} x "
                f"{headers[0][1][1]}. Set size (data.size in the recipe) to bring all images to one size."
            )
    return channels, *headers[0][1]


class _Read(NamedTuple):
    images: Images
    peaks: dict[Path, int]
    """The largest value in each image of 16 bits."""
    errors: list[ImageError]
    """Of the files that cannot be read; their place in `images` holds anything."""


def _read_parts(parts: list[list[Path]], input: tuple[int, int, int]) -> list[Images]:
    """The images of each part.

    Raises:
        DataError: some cannot be read, of whichever part; or those of 16 bits hold 12.
    """
    found = [_read_all(files, input) for files in parts]
    if errors := [error for read in found for error in read.errors]:
        raise unreadable(errors, sum(map(len, parts)), _SHOWN)
    for read in found:
        _check_range(read.peaks)
    return [read.images for read in found]


def _read_all(files: list[Path], input: tuple[int, int, int]) -> _Read:
    try:
        read = _Read(np.empty((len(files), *input), np.uint8), {}, [])
    except MemoryError as error:
        channels, height, width = input
        size = len(files) * channels * height * width / 1e9
        raise DataError(
            f"{len(files)} images of {height} x {width} pixels take {size:,.0f} GB, more than there is of memory. Set "
            "size (data.size in the recipe) to what the network shall see, such as [64, 64]."
        ) from error
    for place, file in zip(read.images, files):
        try:
            place[:], peak = read_with_peak(file, input)
        except ImageError as error:
            read.errors.append(error.bare())
            continue
        if peak is not None:
            read.peaks[file] = peak
    return read


def _check_range(peaks: dict[Path, int]) -> None:
    """Raise a DataError where 16-bit images hold 12 bits: by the one scale of all 16-bit images they would be black.

    Told from all of them together: one image may well be dark.
    """
    if not peaks:
        return
    brightest = max(peaks, key=lambda file: peaks[file])
    if peaks[brightest] < _TWELVE_BITS:
        raise DataError(
            f"{brightest}: the brightest of {len(peaks)} images of 16 bits reaches {peaks[brightest]} of 65535; scaled "
            "by that, they would be nearly black. Bring them to fill 0..65535 (12 bits: times 16), for predict as well."
        )
