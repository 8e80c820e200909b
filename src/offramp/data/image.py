"""One image file as an array; numpy and Pillow only, so that prediction needs no torch."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from offramp.data._errors import DataError

GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16L", "I;16B"})
_SIXTEEN_BIT = frozenset({"I", "I;16", "I;16L", "I;16B"})


def read_image(path: str | Path, input: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Read an image file as uint8 (C, H, W), turned upright, converted to C channels and resized to H x W.

    C is 1 (grey) or 3 (RGB). Training on a folder reads its images through this very function.
    """
    channels, height, width = input
    if channels not in (1, 3):
        raise DataError(
            f"input={input}: an image file has 1 channel (grey) or 3 (RGB); {channels} cannot be read from it."
        )
    picture = _open(path)
    if picture.mode == "F":
        raise DataError(f"{path}: holds float pixels, whose range is unknown. Convert it to 8 or 16 bits.")
    if picture.mode in _SIXTEEN_BIT:
        picture = _eight_bit(picture)
    picture = picture.convert("L" if channels == 1 else "RGB")
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture, np.uint8)
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))


def image_header(path: str | Path) -> tuple[bool, tuple[int, int]]:
    """(is it grey, (height, width) when upright) of an image file, without decoding its pixels."""
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            sideways = picture.getexif().get(0x0112, 1) >= 5  # EXIF orientations 5 to 8 swap the axes
            return picture.mode in GREY_MODES, ((width, height) if sideways else (height, width))
    except Exception as error:  # Pillow's decoders raise far more than OSError
        raise _unreadable(path, error) from error


def _open(path: str | Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            picture.load()
            return ImageOps.exif_transpose(picture)
    except Exception as error:  # Pillow's decoders raise far more than OSError
        raise _unreadable(path, error) from error


def _eight_bit(picture: Image.Image) -> Image.Image:
    """16-bit grey to 8 bits: Pillow itself would clip at 255."""
    wide: NDArray[Any] = np.asarray(picture).astype(np.int64)
    return Image.fromarray((wide.clip(0, 65535) >> 8).astype(np.uint8))


def _unreadable(path: str | Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such file.")
    return DataError(f"{path}: not a readable image ({error}). Replace or remove the file.")
