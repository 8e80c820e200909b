import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import offramp.data as data


def split_of(images, labels=None):
    return data.Split(images, torch.zeros(len(images), dtype=torch.int64) if labels is None else labels)


def test_mean_and_std_are_those_of_the_train_split_only():
    task = data.task("digits")
    pixels = task.train.images.double()
    assert task.mean == pytest.approx((pixels.mean().item(),))
    assert task.std == pytest.approx((pixels.std(correction=0).item(),))


def test_std_of_an_empty_channel_can_be_divided_by():
    black = split_of(torch.zeros(4, 2, 3, 3, dtype=torch.uint8))
    found = data.SearchData("x", ("a",), black, black, data.Augment(False, 0))
    assert found.mean == (0.0, 0.0)
    assert found.std == (1.0, 1.0)


def test_the_search_cannot_reach_test_or_calibrate():
    task = data.task("digits")
    seen = task.without_test()
    assert seen.train is task.train
    assert seen.select is task.select
    assert (seen.input, seen.mean, seen.std) == (task.input, task.mean, task.std)
    hidden = [task.test.images.data_ptr(), task.calibrate.images.data_ptr()]
    held = [value for value in vars(seen).values() if isinstance(value, data.Split)]
    assert not hasattr(seen, "test")
    assert not hasattr(seen, "calibrate")
    assert not hasattr(seen, "splits")
    assert not set(hidden) & {split.images.data_ptr() for split in held}


def test_the_fingerprint_tells_tasks_apart():
    prints = [
        data.task("digits").fingerprint(),
        data.task("digits", seed=1).fingerprint(),
        data.task("digits", select=0.16).fingerprint(),
        data.task("digits", limit=500).fingerprint(),
    ]
    assert len(set(prints)) == len(prints)
    assert data.task("digits", flip=True, pad=3).fingerprint() == prints[0]
    assert len(prints[0]) == 16


def test_the_fingerprint_sees_one_pixel_and_one_label():
    task = data.task("digits")
    before = task.fingerprint()
    task.test.images[5, 0, 3, 3] ^= 1
    pixel = data.Task("digits", task.classes, *task.splits.values(), task.augment).fingerprint()
    task.test.images[5, 0, 3, 3] ^= 1
    task.test.labels[5] = (task.test.labels[5] + 1) % 10
    label = data.Task("digits", task.classes, *task.splits.values(), task.augment).fingerprint()
    assert len({before, pixel, label}) == 3


@pytest.mark.parametrize(
    "images, labels",
    [
        (torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int32)),
    ],
)
def test_a_split_refuses_tensors_of_another_form(images, labels):
    with pytest.raises(data.DataError, match="a split"):
        data.Split(images, labels)


def test_torch_is_not_imported_before_it_is_needed():
    code = (
        "import sys, offramp.data, offramp.data.image; from offramp.data import DataError, read_image; "
        "assert 'torch' not in sys.modules; assert 'sklearn' not in sys.modules; "
        "offramp.data.Augment; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there():
    for name in data.__all__:
        assert getattr(data, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'tusk'"):
        data.tusk  # noqa: B018


def test_the_fingerprint_sees_the_names_of_classes():
    task = data.task("digits", limit=100)
    assert replace(task, classes=task.classes[::-1]).fingerprint() != task.fingerprint()
