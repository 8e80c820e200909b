import json
import lzma
import re
import shutil

import numpy as np
import pytest

import offramp.data as data
from offramp.data._packed import decode, read_packed

SIDE = 32


def encode(images):
    """Residuals (3, N, 32, 32) of RGB images (N, 32, 32, 3), pixel by pixel as the format's description has it."""
    red, green, blue = (images[..., c].astype(int) for c in range(3))
    out = np.zeros((3, len(images), SIDE, SIDE), np.uint8)
    for plane, values in enumerate((green, red - green, blue - green)):
        for y in range(SIDE):
            for x in range(SIDE):
                left, up = values[:, y, x - 1], values[:, y - 1, x]
                if x and y:
                    middle = left + up - values[:, y - 1, x - 1]
                    guess = np.sort(np.stack([left, up, middle]), axis=0)[1]
                else:
                    guess = left if x else up if y else np.zeros(len(images), int)
                out[plane, :, y, x] = (values[:, y, x] - guess) % 256
    return out


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", ["noise", "extremes", "smooth"])
def test_decode_undoes_encode(count, kind):
    rng = np.random.default_rng(count)
    images = {
        "noise": rng.integers(0, 256, (count, SIDE, SIDE, 3)),
        "extremes": rng.choice([0, 255], (count, SIDE, SIDE, 3)),
        "smooth": np.add.outer(np.arange(count), np.add.outer(np.arange(SIDE), np.arange(SIDE * 3).reshape(SIDE, 3))),
    }[kind].astype(np.uint8)
    assert np.array_equal(decode(encode(images)).transpose(0, 2, 3, 1), images)


def test_images_are_decoded_alike_in_whichever_group_they_fall():
    rng = np.random.default_rng(0)
    residuals = rng.integers(0, 256, (3, 1201, SIDE, SIDE)).astype(np.uint8)
    alone = np.concatenate([decode(residuals[:, i : i + 1]) for i in (0, 499, 500, 1200)])
    assert np.array_equal(decode(residuals)[[0, 499, 500, 1200]], alone)


def test_a_real_block_is_exact(collection):
    found = read_packed(collection / "cifar10", "test", classes=10, blocks=[1])  # its SHA-256 is checked on the way
    assert found.images.shape == (4980, 3, SIDE, SIDE)
    assert np.array_equal(found.labels, read_labels(collection / "cifar10", "test")[5000:])


def test_coarse_labels_belong_to_coarse_classes(collection):
    if not (collection / "cifar100").is_dir():
        pytest.skip("no packed CIFAR-100")
    fine = read_packed(collection / "cifar100", "test", classes=100, blocks=[0])
    coarse = read_packed(collection / "cifar100", "test", classes=20, coarse=True, blocks=[0])
    assert np.array_equal(fine.images, coarse.images)
    assert len({(f, c) for f, c in zip(fine.labels, coarse.labels)}) == 100  # each fine class lies in one coarse class


def test_cifar10_as_a_task(collection):
    task = data.task("cifar10", collection)
    assert {name: len(split) for name, split in task.splits.items()} == {
        "train": 40_000,
        "select": 5_000,
        "calibrate": 5_000,
        "test": 9_980,
    }
    assert task.input == (3, 32, 32)
    assert task.classes[0] == "airplane"
    assert task.augment == data.Augment(flip=True, pad=4)
    assert task.notes == ("test: 9,980 of the official 10,000 images",)
    assert task.train.labels.bincount().tolist() == [4_000] * 10
    assert task.mean == pytest.approx((125.3, 123.0, 113.9), abs=0.5)  # known of the 50,000
    assert task.std == pytest.approx((63.0, 62.1, 66.7), abs=0.5)


def read_labels(folder, key):
    with np.load(folder / "labels.npz") as arrays:
        return arrays[key].astype(np.int64)


@pytest.fixture
def packed(tmp_path):
    """A small packed set of our own making: two blocks of train, one of test."""
    import hashlib

    folder = tmp_path / "cifar10"
    folder.mkdir()
    rng = np.random.default_rng(0)
    info = {"classes": [f"class {i}" for i in range(10)]}
    labels = {}
    for split, counts in {"train": [20, 20], "test": [10]}.items():
        blocks = []
        for number, count in enumerate(counts):
            images = rng.integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)
            file = f"{split}_{number:02d}.xz"
            (folder / file).write_bytes(lzma.compress(encode(images).tobytes()))
            blocks.append({"file": file, "count": count, "sha256": hashlib.sha256(images.tobytes()).hexdigest()})
        info[split] = {"count": sum(counts), "blocks": blocks}
        labels[split] = (np.arange(sum(counts)) % 10).astype(np.uint8)
    (folder / "info.json").write_text(json.dumps(info))
    np.savez(folder / "labels.npz", **labels)
    return folder


WISH = {"select": 10, "calibrate": 10}


def test_a_small_packed_set_is_read_from_either_root(packed):
    beside, inside = data.task("cifar10", packed.parent, **WISH), data.task("cifar10", packed, **WISH)
    assert len(beside.train) == 20
    assert len(beside.test) == 10
    assert beside.fingerprint() == inside.fingerprint()


def test_the_root_may_come_from_the_environment(packed, monkeypatch):
    monkeypatch.setenv("OFFRAMP_DATA", str(packed.parent))
    assert len(data.task("cifar10", **WISH).train) == 20


def test_a_test_share_is_refused_where_test_is_given(packed):
    with pytest.raises(data.DataError, match=re.escape("test=0.2") + ".*Leave test out"):
        data.task("cifar10", packed, test=0.2)


def rewrite_info(packed, change):
    info = json.loads((packed / "info.json").read_text())
    change(info)
    (packed / "info.json").write_text(json.dumps(info))


def cut(file, keep):
    file.write_bytes(file.read_bytes()[:keep])


def swap_label(packed, value):
    with np.load(packed / "labels.npz") as arrays:
        labels = dict(arrays)
    labels["train"][3] = value
    np.savez(packed / "labels.npz", **labels)


DAMAGE = [
    ("train_01.xz", lambda p: cut(p / "train_01.xz", 500), "missing or damaged"),
    ("train_01.xz", lambda p: cut(p / "train_01.xz", 0), "missing or damaged|holds 0 bytes"),
    ("train_01.xz", lambda p: (p / "train_01.xz").unlink(), "missing or damaged"),
    ("train_00.xz", lambda p: shutil.copy(p / "train_01.xz", p / "train_00.xz"), "SHA-256"),
    ("train_00.xz", lambda p: shutil.copy(p / "test_00.xz", p / "train_00.xz"), "not those of 20 images"),
    ("labels.npz", lambda p: cut(p / "labels.npz", 100), "cannot read the labels"),
    ("labels.npz", lambda p: (p / "labels.npz").unlink(), "cannot read the labels"),
    ("labels.npz", lambda p: np.savez(p / "labels.npz", train=np.zeros(39, np.uint8)), "info.json lists 40 images"),
    ("cifar10", lambda p: swap_label(p, 10), "label 10 of image 3 is not in 0..9"),
    ("info.json", lambda p: cut(p / "info.json", 100), "unreadable"),
    ("info.json", lambda p: (p / "info.json").write_text("[]"), "not a JSON object"),
    ("info.json", lambda p: rewrite_info(p, lambda info: info.pop("train")), "'train'"),
    ("info.json", lambda p: rewrite_info(p, lambda info: info.pop("classes")), "'classes'"),
    ("cifar10", lambda p: rewrite_info(p, lambda info: info["classes"].append("11th")), "11 class names"),
]


@pytest.mark.parametrize("file, damage, message", DAMAGE)
def test_damage_is_named_with_its_file(packed, file, damage, message):
    damage(packed)
    with pytest.raises(data.DataError, match=message) as caught:
        data.task("cifar10", packed.parent, **WISH)
    assert file in str(caught.value)


def test_a_root_that_is_given_comes_before_the_environment(packed, monkeypatch, tmp_path):
    monkeypatch.setenv("OFFRAMP_DATA", str(tmp_path / "elsewhere"))
    assert len(data.task("cifar10", packed.parent, **WISH).train) == 20
