import numpy as np
import pytest

import offramp.data as data


def images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


LABELS = np.arange(60) % 3


@pytest.mark.parametrize(
    "shape, input",
    [((60, 9, 8), (1, 9, 8)), ((60, 9, 8, 3), (3, 9, 8)), ((60, 3, 9, 8), (3, 9, 8)), ((60, 9, 8, 1), (1, 9, 8))],
)
def test_the_layout_is_told_from_the_shape(tmp_path, shape, input):
    pixels = images(*shape)
    np.savez(tmp_path / "x.npz", images=pixels, labels=LABELS)
    task = data.task("npz", tmp_path / "x.npz")
    assert task.input == input
    assert task.classes == ("0", "1", "2")
    assert sum(map(len, task.splits.values())) == 60
    first = pixels.reshape(60, 9, 8, -1).transpose(0, 3, 1, 2) if shape[1] == 9 else pixels
    known = {image.tobytes(): label for image, label in zip(first, LABELS)}
    for split in task.splits.values():
        assert [known[image.numpy().tobytes()] for image in split.images] == split.labels.tolist()


def test_keras_arrays_bring_their_test_split(tmp_path):
    test = images(6, 8, 8, 3, seed=1)
    arrays = {"x_train": images(60, 8, 8, 3), "y_train": LABELS[:, None], "x_test": test, "y_test": LABELS[:6, None]}
    np.savez_compressed(tmp_path / "x.npz", classes=np.array(["ant", "bee", "cow"]), **arrays)
    task = data.task("npz", tmp_path / "x.npz")
    assert task.classes == ("ant", "bee", "cow")
    assert {name: len(split) for name, split in task.splits.items()} == {
        "train": 48,
        "select": 6,
        "calibrate": 6,
        "test": 6,
    }
    assert np.array_equal(task.test.images.permute(0, 2, 3, 1).numpy(), test)
    found = data.read_split(tmp_path / "x.npz", task.classes, (3, 8, 8))
    assert found.images.equal(task.test.images)
    with pytest.raises(data.DataError, match=r"x.npz: images of shape \(3, 8, 8\), but the network takes \(3, 9, 9\)"):
        data.read_split(tmp_path / "x.npz", task.classes, (3, 9, 9))


def test_labels_go_by_the_names_of_their_classes(tmp_path):
    np.savez(tmp_path / "x.npz", images=images(4, 8, 8), labels=[0, 1, 1, 0], classes=np.array([b"dog", b"cat"]))
    found = data.read_split(tmp_path / "x.npz", ("cat", "cow", "dog"), (1, 8, 8))
    assert found.labels.tolist() == [2, 0, 0, 2]
    with pytest.raises(data.DataError, match=r"its classes \['dog'\] are not among those of the network"):
        data.read_split(tmp_path / "x.npz", ("cat", "cow"), (1, 8, 8))
    assert data.read_split(tmp_path / "x.npz", ("0", "1"), (1, 8, 8)).labels.tolist() == [0, 1, 1, 0]
    np.savez(tmp_path / "x.npz", images=images(4, 8, 8), labels=[0, 1, 1, 0], classes=np.array(["1", "0"]))
    assert data.read_split(tmp_path / "x.npz", ("0", "1"), (1, 8, 8)).labels.tolist() == [1, 0, 0, 1]
    more = np.array(["dog", "cat", "yak"])  # of which there is no image
    np.savez(tmp_path / "x.npz", images=images(4, 8, 8), labels=[0, 1, 1, 0], classes=more)
    assert data.read_split(tmp_path / "x.npz", ("cat", "dog"), (1, 8, 8)).labels.tolist() == [1, 0, 0, 1]


def test_images_without_labels_are_told(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=GOOD, y_train=LABELS, x_test=GOOD)
    assert data.task("npz", tmp_path / "x.npz").notes == (f"{tmp_path / 'x.npz'}: not read: x_test",)


GOOD = images(60, 8, 8)
DAMAGE = [
    ({"pictures": GOOD, "labels": LABELS}, r"has the arrays \['labels', 'pictures'\]"),
    ({"images": GOOD.astype(np.float32), "labels": LABELS}, "images is float32"),
    ({"images": GOOD, "labels": LABELS[:59]}, r"60 images but labels of shape \(59,\)"),
    ({"images": GOOD, "labels": LABELS.astype(float)}, "labels are float64"),
    ({"images": GOOD, "labels": LABELS - 1}, "label -1 among 60 images"),
    ({"images": GOOD, "labels": LABELS * 10**9}, "label 2000000000 among 60 images"),
    ({"images": GOOD, "labels": LABELS - 9}, "label -9 among 60 images"),
    ({"images": GOOD, "labels": LABELS * 2}, r"no image of \['1', '3'\]"),
    ({"images": GOOD, "labels": LABELS, "classes": np.array(["a", "b"])}, "label 2 of image 2 is not in 0..1"),
    ({"images": GOOD, "labels": LABELS * 0}, r"1 class, \['0'\]; a classifier tells at least 2 apart"),
    ({"images": GOOD, "labels": LABELS * 0, "classes": np.array(["cat"])}, r"1 class, \['cat'\]"),
    ({"x_train": GOOD, "y_train": LABELS * 0, "x_test": GOOD, "y_test": LABELS * 0}, r"1 class, \['0'\]"),
    ({"images": GOOD[:0], "labels": LABELS[:0]}, "labels are int64 of shape"),
    ({"images": GOOD[:, :0], "labels": LABELS}, r"images has shape \(60, 0, 8\); images have at least one pixel"),
    ({"images": GOOD, "labels": LABELS, "classes": np.array(["a", "b", "a"])}, r"classes has \['a'\] more than once"),
    (
        {"images": GOOD, "labels": LABELS, "x_test": GOOD, "y_test": LABELS},
        "has x_test, y_test beside images and labels",
    ),
    ({"images": GOOD.reshape(60, 64), "labels": LABELS}, r"images has shape \(60, 64\)"),
    ({"images": images(60, 3, 8, 3), "labels": LABELS}, r"images has shape \(60, 3, 8, 3\)"),
    ({"images": GOOD, "labels": LABELS.astype(object)}, "not a readable .npz of plain arrays"),
    (
        {"x_train": GOOD, "y_train": LABELS, "x_test": images(6, 9, 9), "y_test": LABELS[:6]},
        r"x_test holds images of shape \(1, 9, 9\)",
    ),
    (
        {"x_train": GOOD, "y_train": LABELS, "x_test": GOOD[:6], "y_test": LABELS[:6] * 2},
        "label 4 of image 2 is not in 0..2",
    ),
    (
        {"x_train": GOOD, "y_train": LABELS, "x_test": GOOD[:2], "y_test": LABELS[:2]},
        r"no image of \['2'\] in the test",
    ),
]


@pytest.mark.parametrize("arrays, message", DAMAGE)
def test_what_is_wrong_is_named_with_the_file(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(data.DataError, match=message) as caught:
        data.task("npz", tmp_path / "x.npz")
    assert str(tmp_path / "x.npz") in str(caught.value)


@pytest.mark.parametrize(
    "content, message", [(None, "no such file"), (b"", "not a readable"), (b"PK\3\4", "not a readable")]
)
def test_a_file_that_is_none_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(data.DataError, match=f"x.npz: {message}"):
        data.task("npz", tmp_path / "x.npz")


def test_a_damaged_array_is_named(tmp_path):
    np.savez(tmp_path / "x.npz", images=GOOD, labels=LABELS)
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[1000] ^= 255
    (tmp_path / "x.npz").write_bytes(bytes(content))
    with pytest.raises(data.DataError, match=r"x.npz: not a readable"):
        data.task("npz", tmp_path / "x.npz")


def test_arrays_are_mirrored_and_shifted_by_an_eighth_of_their_height(tmp_path):
    np.savez(tmp_path / "x.npz", images=images(60, 24, 48, 3), labels=LABELS)
    assert data.task("npz", tmp_path / "x.npz").augment == data.Augment(flip=True, pad=3)


@pytest.mark.parametrize(
    "shape, input", [((60, 9, 8, 4), (4, 9, 8)), ((60, 4, 9, 8), (4, 9, 8)), ((60, 9, 8, 2), (2, 9, 8))]
)
def test_two_and_four_channels_are_taken(tmp_path, shape, input):
    np.savez(tmp_path / "x.npz", images=images(*shape), labels=LABELS)
    assert data.task("npz", tmp_path / "x.npz").input == input


@pytest.mark.parametrize("lonely", ["x_test", "y_test"])
def test_half_a_test_part_is_not_taken_for_none(tmp_path, lonely):
    """The training images would be evaluated in its place."""
    half = {lonely: images(60, 9, 8) if lonely == "x_test" else LABELS}
    np.savez(tmp_path / "x.npz", x_train=images(60, 9, 8), y_train=LABELS, **half)
    with pytest.raises(data.DataError, match=f"has {lonely} and not both of x_test and y_test"):
        data.read_split(tmp_path / "x.npz", ("0", "1", "2"), (1, 9, 8))


def test_no_names_of_classes_are_told(tmp_path):
    np.savez(tmp_path / "x.npz", images=images(60, 9, 8), labels=LABELS, classes=np.array([], str))
    for read in (lambda f: data.read_split(f, ("0", "1", "2"), (1, 9, 8)), lambda f: data.task("npz", f)):
        with pytest.raises(data.DataError, match="classes is empty"):
            read(tmp_path / "x.npz")


def test_a_limit_that_leaves_a_class_out_is_what_is_to_change(tmp_path):
    np.savez(tmp_path / "x.npz", images=images(100, 9, 8), labels=np.repeat([0, 1], [90, 10]))
    with pytest.raises(data.DataError, match=r"limit=2: keeps no image of \['1'\].*make it larger"):
        data.task("npz", tmp_path / "x.npz", limit=2)
    assert set(data.task("npz", tmp_path / "x.npz", limit=20).train.labels.tolist()) == {0, 1}
