"""Street View House Numbers, cropped digits: MATLAB files of 32 x 32 RGB images."""

from pathlib import Path

import numpy as np

from offramp.data._checksum import check_md5
from offramp.data._digits import DIGITS
from offramp.data._errors import DataError
from offramp.data._source import Labelled, Options, Source, labelled

_MD5 = {
    "train": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test": "eb5a983be6a315427106f1b164d9cef3",
    "extra": "a93ce644f1a588dc4d68dda5feec44a7",
}


def read_svhn(root: Path, options: Options) -> Source:
    """SVHN; with `extra`, its 531,131 easier images join the training images. Not mirrored: digits."""
    train, test = (_read_part(root, part, options.verify) for part in ("train", "test"))
    if options.extra:
        more = _read_part(root, "extra", options.verify)
        images, labels = np.concatenate([train.images, more.images]), np.concatenate([train.labels, more.labels])
        train = Labelled(images, labels, train.origin)
    return Source(DIGITS, train, test, flip=False, pad=4)


def _read_part(root: Path, part: str, verify: bool) -> Labelled:
    file = _find(root, f"{part}_32x32.mat")
    if verify:
        check_md5(file, _MD5[part])
    images, labels = _load_mat(file)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[2] != 3:
        raise DataError(f"{file}: X is {images.dtype} {images.shape}, not uint8 (H, W, 3, N). Download it again.")
    labels = labels.reshape(-1).astype(np.int64)
    if len(labels) and not 1 <= labels.min() <= labels.max() <= 10:
        raise DataError(
            f"{file}: labels {labels.min()}..{labels.max()}; SVHN has 1..10, 10 meaning 0. Download it again."
        )
    return labelled(images.transpose(3, 2, 0, 1), labels % 10, len(DIGITS), file)


def _load_mat(file: Path) -> tuple[np.ndarray, np.ndarray]:
    from scipy.io import loadmat

    try:
        found = loadmat(file, variable_names=["X", "y"])
        return found["X"], found["y"]
    except Exception as error:  # scipy's readers raise many kinds
        raise DataError(f"{file}: not a MATLAB file with X and y ({error}). Download it again.") from error


def _find(root: Path, name: str) -> Path:
    places = [root / "svhn" / name, root / name]
    for file in places:
        if file.is_file():
            return file
    raise DataError(
        f"svhn: {name} not found. Looked for {' and '.join(map(str, places))}. Get it from "
        "http://ufldl.stanford.edu/housenumbers/, or set data.root or OFFRAMP_DATA to the folder that holds it."
    )
