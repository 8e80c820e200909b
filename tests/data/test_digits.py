import numpy as np
import torch
from sklearn.datasets import load_digits

import offramp.data as data


def test_digits_are_all_there_and_scaled_to_bytes():
    task = data.task("digits")
    assert task.input == (1, 8, 8)
    assert task.classes == tuple("0123456789")
    assert {name: len(split) for name, split in task.splits.items()} == {
        "train": 988,
        "select": 270,
        "calibrate": 180,
        "test": 359,
    }
    images = torch.cat([split.images for split in task.splits.values()])
    original = np.sort(load_digits().images.sum((1, 2)))
    assert images.max() == 255
    found = np.sort(images.numpy().astype(int).sum((1, 2, 3)))
    assert np.abs(found * 16 / 255 - original).max() < 64 * 0.5 * 16 / 255


def test_every_digit_keeps_its_label():
    task = data.task("digits", seed=3)
    original = load_digits()
    pixels = np.rint(original.images * (255 / 16)).astype(np.uint8)
    known = {image.tobytes(): label for image, label in zip(pixels, original.target)}
    for split in task.splits.values():
        assert [known[image.numpy().tobytes()] for image in split.images] == split.labels.tolist()


def test_digits_are_shifted_but_never_mirrored():
    assert data.task("digits").augment == data.Augment(flip=False, pad=1)
    assert data.task("digits", flip=True, pad=0).augment == data.Augment(flip=True, pad=0)
