import re

import pytest

import offramp.data as data


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("mnist", {}, "'mnist': unknown. Choose one of digits, cifar10"),
        ("digits", {"size": (8, 8)}, "size=(8, 8): not an option of 'digits', only of ['folder']"),
        ("digits", {"coarse": True}, "only of ['cifar100']"),
        ("digits", {"extra": True}, "only of ['svhn']"),
        ("digits", {"select": 1797}, "select=1797: 1797 of 1797 images"),
        ("digits", {"select": 0}, "select=0: 0 of 1797 images"),
        ("digits", {"test": -3}, "test=-3"),
        ("digits", {"calibrate": 1.5}, "calibrate=1.5: a share lies between 0 and 1"),
        ("digits", {"calibrate": 1.0}, "calibrate=1.0: a share lies between 0 and 1"),
        ("digits", {"select": True}, "select=True: give a count"),
        ("digits", {"select": "10%"}, "select='10%': give a count"),
        ("digits", {"select": 900, "calibrate": 360, "test": 536}, "make test, select or calibrate smaller"),
        ("digits", {"select": 0.5, "calibrate": 0.3, "test": 0.3}, "ask for 1976 of 1797"),
        ("digits", {"calibrate": 5}, "in the calibrate split of 5 images, 10 classes"),
        ("digits", {"calibrate": 5}, "images in all: make calibrate larger, or add images of that class"),
        ("digits", {"limit": 9}, "limit=9: fewer than the 10 classes"),
        ("digits", {"pad": -1}, "pad=-1"),
        ("digits", {"seed": -1}, "seed=-1"),
        ("folder", {}, "set root (data.root in the recipe) to the folder"),
        ("npz", {}, "set root (data.root in the recipe) to the npz"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_named(name, options, message):
    with pytest.raises(data.DataError, match=re.escape(message)):
        data.task(name, **options)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_without_a_root_the_variable_and_the_key_are_named(name, monkeypatch):
    monkeypatch.delenv("OFFRAMP_DATA", raising=False)
    with pytest.raises(data.DataError, match=f"(?s){name}.*data.root.*OFFRAMP_DATA"):
        data.task(name)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_what_was_looked_for_is_listed(name, monkeypatch, tmp_path):
    monkeypatch.setenv("OFFRAMP_DATA", str(tmp_path))
    with pytest.raises(data.DataError) as caught:
        data.task(name)
    wanted = {
        "cifar10": ["cifar10/info.json", "cifar-10-python.tar.gz", "cifar-10-batches-py"],
        "cifar100": ["cifar100/info.json", "cifar-100-python.tar.gz", "cifar-100-python"],
        "svhn": ["svhn/train_32x32.mat", "train_32x32.mat"],
    }[name]
    for file in wanted:
        assert f"{tmp_path / file}" in str(caught.value)
