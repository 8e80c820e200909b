"""Digits at 3 x 32 x 32, so that their layers are those of the tables that come along."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits


def large_digits(folder: Path) -> Path:
    """An .npz in `folder`."""
    digits, path = load_digits(), folder / "digits.npz"
    images = (digits.images * 255 / 16).astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    np.savez(path, images=np.stack([images] * 3, axis=-1), labels=digits.target)
    return path
