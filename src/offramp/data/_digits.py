"""scikit-learn's handwritten digits: 1,797 grey images of 8 x 8, part of the installed package."""

from pathlib import Path

import numpy as np

from offramp.data._source import Options, Source, labelled

DIGITS = tuple("0123456789")


def read_digits(root: Path | None, options: Options) -> Source:
    """The digits, scaled from 0..16 to 0..255. Not mirrored: a mirrored digit is another sign."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = np.rint(found.images * (255 / 16)).astype(np.uint8)[:, None]
    return Source(DIGITS, labelled(images, found.target, len(DIGITS), "scikit-learn digits"), None, flip=False, pad=1)
