import numpy as np
import pytest
from scipy.io import savemat

import offramp.data as data


def write(file, count, seed, labels=None):
    images = np.random.default_rng(seed).integers(0, 256, (32, 32, 3, count)).astype(np.uint8)
    labels = np.arange(count) % 10 + 1 if labels is None else np.array(labels)
    savemat(file, {"X": images, "y": labels.astype(np.uint8).reshape(-1, 1)})
    return images, labels


@pytest.fixture
def root(tmp_path):
    (tmp_path / "svhn").mkdir()
    write(tmp_path / "svhn" / "train_32x32.mat", 100, 0)
    write(tmp_path / "svhn" / "extra_32x32.mat", 50, 2)
    return tmp_path


def test_images_are_turned_and_ten_means_zero(root):
    images, labels = write(root / "svhn" / "test_32x32.mat", 20, 1)
    task = data.task("svhn", root, verify=False)
    assert {name: len(split) for name, split in task.splits.items()} == {
        "train": 80,
        "select": 10,
        "calibrate": 10,
        "test": 20,
    }
    for i in range(20):
        assert np.array_equal(task.test.images[i].permute(1, 2, 0).numpy(), images[..., i])
    assert task.test.labels.tolist() == [0 if label == 10 else label for label in labels]
    assert task.classes == tuple("0123456789")
    assert task.augment == data.Augment(flip=False, pad=4)


def test_extra_joins_the_training_images(root):
    write(root / "svhn" / "test_32x32.mat", 20, 1)
    task = data.task("svhn", root / "svhn", verify=False, extra=True, select=10, calibrate=10)
    assert len(task.train) == 130


def test_another_file_than_the_published_one_is_refused(root):
    write(root / "svhn" / "test_32x32.mat", 20, 1)
    with pytest.raises(data.DataError, match=r"train_32x32.mat: its MD5 is .* e26dedcc.*verify=False"):
        data.task("svhn", root)


@pytest.mark.parametrize(
    "content, message",
    [
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [[1], [11]]}, "labels 1..11; SVHN has 1..10"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [[0], [1]]}, "labels 0..1; SVHN has 1..10"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [[1]]}, "2 images but labels of shape"),
        ({"X": np.zeros((32, 32, 3, 2)), "y": [[1], [2]]}, "X is float64"),
        ({"X": np.zeros((2, 32, 32, 3), np.uint8), "y": [[1], [2]]}, "not uint8 \\(H, W, 3, N\\)"),
        ({"y": [[1]]}, "not a MATLAB file with X and y"),
        (b"nothing", "not a MATLAB file with X and y"),
        (None, "test_32x32.mat not found"),
    ],
)
def test_damage_is_named_with_its_file(root, content, message):
    file = root / "svhn" / "test_32x32.mat"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        savemat(file, content)
    with pytest.raises(data.DataError, match=message) as caught:
        data.task("svhn", root, verify=False)
    assert str(file) in str(caught.value)


def test_extra_images_keep_their_labels(root):
    write(root / "svhn" / "test_32x32.mat", 20, 1)
    pixels, _ = write(root / "svhn" / "extra_32x32.mat", 50, 2, labels=[7] * 50)
    task = data.task("svhn", root, verify=False, extra=True)
    extra = {pixels[..., i].transpose(2, 0, 1).tobytes() for i in range(50)}
    seen = 0
    for split in (task.train, task.select, task.calibrate):
        found = [label for image, label in zip(split.images, split.labels.tolist()) if image.numpy().tobytes() in extra]
        seen += len(found)
        assert set(found) <= {7}
    assert seen == 50
