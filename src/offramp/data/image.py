"""One image file as an array; numpy and Pillow only, so that prediction needs no torch."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from offramp.data._errors import DataError, ImageError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16L", "I;16B"})
_SIXTEEN_BIT = frozenset({"I;16", "I;16L", "I;16B"})
_SIXTEEN_BIT_FORMATS = frozenset({"PNG", "PPM"})
"""Formats whose mode "I" is 16 bits, brought to the full range; in others it is 32 bits of any range."""


def is_image(path: Path) -> bool:
    """Whether a file's name is that of an image; hidden ones are not meant."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def image_files(folder: Path) -> list[Path]:
    """The image files in `folder` and in the folders within, hidden ones left out, sorted.

    Raises:
        DataError: there is none.
    """
    inside = (path for path in folder.rglob("*") if is_image(path) and path.is_file())
    files = sorted(path for path in inside if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    if not files:
        raise DataError(f"{folder}: no images in this folder. Images end in {' '.join(sorted(SUFFIXES))}.")
    return files


def read_image(path: str | Path, input: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Read an image file as uint8 (C, H, W), turned upright, converted to C channels and resized to H x W.

    C is 1 (grey) or 3 (RGB). Transparent pixels are laid over white; 16 bits, 0..65535, are divided by 256. Training on
    a folder reads its images through this very function.

    Raises:
        ImageError: the file is missing or damaged, or has 32-bit, signed or float pixels.
        DataError: C is neither 1 nor 3.
    """
    return read_with_peak(path, input)[0]


def read_with_peak(path: str | Path, input: tuple[int, int, int]) -> tuple[NDArray[np.uint8], int | None]:
    """As `read_image`, and the largest value in a 16-bit grey file; None where the file has 8 bits or colours."""
    channels, height, width = input
    if channels not in (1, 3):
        raise DataError(
            f"{path}: an image file has 1 channel (grey) or 3 (RGB), but input={input} has {channels}. Hand over such "
            "images as uint8 arrays (offramp.export.Model.predict), or as an .npz (offramp evaluate --data)."
        )
    picture, sixteen_bit = _open(path)
    peak = None
    if sixteen_bit:
        picture, peak = _eight_bit(picture)
    elif picture.mode in ("I", "F"):
        kind = "32-bit or signed" if picture.mode == "I" else "float"
        raise ImageError(
            path, f"holds {kind} pixels, whose range is unknown. Convert it to 8 bits, or to 16 that fill 0..65535"
        )
    elif picture.has_transparency_data:
        picture = _on_white(picture)
    picture = picture.convert("L" if channels == 1 else "RGB")
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture, np.uint8)
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)), peak


def image_header(path: str | Path) -> tuple[bool, tuple[int, int]]:
    """(is it grey, (height, width) when upright) of an image file, without decoding its pixels.

    Raises:
        ImageError: the file is missing or damaged.
    """
    try:
        with Image.open(path) as picture:
            stored = getattr(picture, "tag_v2", {})  # a TIFF's own size: Pillow turns that of `picture` already
            width, height = stored.get(256, picture.width), stored.get(257, picture.height)
            sideways = picture.getexif().get(0x0112) in (5, 6, 7, 8)  # these EXIF orientations swap the axes
            return picture.mode in GREY_MODES, ((width, height) if sideways else (height, width))
    except Exception as error:  # Pillow's decoders raise far more than OSError
        raise _unreadable(path, error) from error


def _open(path: str | Path) -> tuple[Image.Image, bool]:
    """The image, upright, and whether it is grey of 16 bits."""
    try:
        with Image.open(path) as picture:
            picture.load()
            scaled = picture.mode == "I" and picture.format in _SIXTEEN_BIT_FORMATS
            return ImageOps.exif_transpose(picture), scaled or picture.mode in _SIXTEEN_BIT
    except Exception as error:  # Pillow's decoders raise far more than OSError
        raise _unreadable(path, error) from error


def _eight_bit(picture: Image.Image) -> tuple[Image.Image, int]:
    """16-bit grey as 8 bits (Pillow itself would clip at 255), and its largest value."""
    wide: NDArray[Any] = np.asarray(picture)
    narrow = (wide >> 8).astype(np.uint8)
    if (transparent := picture.info.get("transparency")) is not None:
        narrow[wide == transparent] = 255
    return Image.fromarray(narrow), int(wide.max())


def _on_white(picture: Image.Image) -> Image.Image:
    """Over white, as most viewers show it: the colour stored under a transparent pixel was never meant to be seen."""
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)


def _unreadable(path: str | Path, error: Exception) -> ImageError:
    if isinstance(error, FileNotFoundError):
        return ImageError(path, "no such file")
    return ImageError(path, f"not a readable image ({error})", "Replace or remove the file.")
