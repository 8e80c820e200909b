"""The packed form of CIFAR: blocks of xz-compressed prediction residuals beside `info.json` and `labels.npz`."""

import hashlib
import json
import lzma
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offramp.data._errors import DataError
from offramp.data._source import Images, Labelled, labelled

SIDE = 32
_GROUP = 500  # images decoded together: the three diagonals of a group stay in the processor's cache
_REPAIR = "Copy the folder again from where it came."


def read_info(folder: Path) -> dict[str, Any]:
    """The description of a packed set."""
    file = folder / "info.json"
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(info, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: unreadable ({error}). {_REPAIR}") from error
    return info


def read_packed(
    folder: Path, split: str, *, classes: int, coarse: bool = False, blocks: Sequence[int] | None = None
) -> Labelled:
    """One split of a packed set, or only the `blocks` named by number."""
    listed = _listed(folder, split)
    wanted = range(len(listed)) if blocks is None else blocks
    first = np.cumsum([0] + [entry["count"] for entry in listed])
    labels = _read_labels(folder, f"{split}_coarse" if coarse else split, int(first[-1]))
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:  # lzma works outside Python's lock
        images = list(pool.map(lambda i: _read_block(folder / listed[i]["file"], listed[i]), wanted))
    return labelled(
        np.concatenate(images), np.concatenate([labels[first[i] : first[i + 1]] for i in wanted]), classes, folder
    )


def _listed(folder: Path, split: str) -> list[dict[str, Any]]:
    try:
        return [
            {"file": b["file"], "count": int(b["count"]), "sha256": b["sha256"]}
            for b in read_info(folder)[split]["blocks"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / 'info.json'}: no well-formed entry for the split {split!r}. {_REPAIR}") from error


def _read_labels(folder: Path, key: str, count: int) -> NDArray[np.int64]:
    file = folder / "labels.npz"
    try:
        with np.load(file, allow_pickle=False) as arrays:
            labels: NDArray[np.int64] = arrays[key].astype(np.int64)
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise DataError(f"{file}: cannot read the labels {key!r} ({error}). {_REPAIR}") from error
    if labels.shape != (count,):
        raise DataError(f"{file}: {key!r} has shape {labels.shape}, but info.json lists {count} images. {_REPAIR}")
    return labels


def _read_block(file: Path, entry: dict[str, Any]) -> Images:
    """Decode one block file to (N, 3, 32, 32) and compare it with its recorded SHA-256."""
    try:
        residuals = np.frombuffer(lzma.decompress(file.read_bytes()), np.uint8)
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise DataError(f"{file}: missing or damaged ({error}). {_REPAIR}") from error
    if residuals.size != entry["count"] * 3 * SIDE * SIDE:
        raise DataError(f"{file}: holds {residuals.size} bytes, not those of {entry['count']} images. {_REPAIR}")
    images = decode(residuals.reshape(3, -1, SIDE, SIDE))
    if hashlib.sha256(np.ascontiguousarray(images.transpose(0, 2, 3, 1)).data).hexdigest() != entry["sha256"]:
        raise DataError(f"{file}: its pixels differ from the SHA-256 in info.json. {_REPAIR}")
    return images


def decode(residuals: NDArray[np.uint8]) -> Images:
    """Residuals (3, N, 32, 32) of the planes G, R - G, B - G -> images (N, 3, 32, 32), RGB."""
    count = residuals.shape[1]
    images = np.empty((count, 3, SIDE, SIDE), np.uint8)
    for start in range(0, count, _GROUP):
        part = slice(start, start + _GROUP)
        images[part] = _decode_group(residuals[:, part])
    return images


def _decode_group(residuals: NDArray[np.uint8]) -> Images:
    """Decode along anti-diagonals: a pixel needs only its left, upper and upper-left neighbours, all on earlier ones.

    In an array of flattened pixels (1024, 3, N) the anti-diagonal x + y = d is the slice that starts at d and steps by
    31. Each of the three buffers below holds one of them by row, after a row of zeros; places outside the image are
    never written and stay zero, for which the median predictor gives what the border needs.
    """
    count = residuals.shape[1]
    pixels = np.ascontiguousarray(residuals.transpose(2, 3, 0, 1)).reshape(SIDE * SIDE, 3, count)
    before, last, current = (np.zeros((SIDE + 1, 3, count), np.int16) for _ in range(3))
    for d in range(2 * SIDE - 1):
        low, high = max(0, d - SIDE + 1), min(d, SIDE - 1) + 1  # the rows y on this diagonal
        line = pixels[d + (SIDE - 1) * low : d + (SIDE - 1) * (high - 1) + 1 : SIDE - 1]
        planes = _median(left=last[low + 1 : high + 1], up=last[low:high], corner=before[low:high])
        planes += line
        planes[:, 0] &= 255
        line[:, 1] = planes[:, 0]
        line[:, 0::2] = (planes[:, 1:] + planes[:, :1]) & 255
        current[low + 1 : high + 1, 0] = planes[:, 0]
        np.subtract(line[:, 0::2], planes[:, :1], out=current[low + 1 : high + 1, 1:], dtype=np.int16)
        before, last, current = last, current, before
    return pixels.reshape(SIDE, SIDE, 3, count).transpose(3, 2, 0, 1)


def _median(left: NDArray[np.int16], up: NDArray[np.int16], corner: NDArray[np.int16]) -> NDArray[np.int16]:
    """The median edge predictor: the middle one of left, up and left + up - corner."""
    low, high = np.minimum(left, up), np.maximum(left, up)
    return np.clip(left + up - corner, low, high)
