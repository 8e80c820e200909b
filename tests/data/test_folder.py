import numpy as np
import pytest
from PIL import Image

import offramp.data as data


def write(folder, count, shape=(6, 5, 3), seed=0, suffix="png"):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *shape)).astype(np.uint8)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:03d}.{suffix}")
    return images


@pytest.fixture
def pets(tmp_path):
    for seed, name in enumerate(("cat", "dog")):
        write(tmp_path / name, 20, seed=seed)
    return tmp_path


def test_every_image_keeps_its_class(pets):
    task = data.task("folder", pets)
    assert task.classes == ("cat", "dog")
    assert task.input == (3, 6, 5)
    assert {name: len(split) for name, split in task.splits.items()} == {
        "train": 22,
        "select": 6,
        "calibrate": 4,
        "test": 8,
    }
    originals = {
        image.tobytes(): label
        for label in (0, 1)
        for image in np.random.default_rng(label).integers(0, 256, (20, 6, 5, 3)).astype(np.uint8)
    }
    for split in task.splits.values():
        for image, label in zip(split.images, split.labels.tolist()):
            assert originals[image.permute(1, 2, 0).numpy().tobytes()] == label


def test_train_and_test_folders_stay_apart(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / "train" / name, 20, suffix="bmp")
        write(tmp_path / "test" / name, 3, seed=9, suffix="BMP")
    task = data.task("folder", tmp_path)
    assert {name: len(split) for name, split in task.splits.items()} == {
        "train": 32,
        "select": 4,
        "calibrate": 4,
        "test": 6,
    }
    expected = np.random.default_rng(9).integers(0, 256, (3, 6, 5, 3)).astype(np.uint8)
    assert np.array_equal(task.test.images[:3].permute(0, 2, 3, 1).numpy(), expected)


def test_grey_images_have_one_channel_unless_one_is_coloured(tmp_path):
    write(tmp_path / "cat", 20, shape=(6, 5))
    write(tmp_path / "dog", 20, shape=(6, 5), seed=1)
    assert data.task("folder", tmp_path).input == (1, 6, 5)
    write(tmp_path / "dog", 1)
    assert data.task("folder", tmp_path).input == (3, 6, 5)


def test_images_of_several_sizes_need_a_size(pets):
    write(pets / "dog", 1, shape=(7, 5, 3))
    with pytest.raises(data.DataError, match=r"dog/000.png: 7 x 5 .*cat/000.png is 6 x 5.*Set size"):
        data.task("folder", pets)
    assert data.task("folder", pets, size=(8, 4)).input == (3, 8, 4)


def test_other_files_are_passed_over(pets):
    before = data.task("folder", pets).fingerprint()
    (pets / "cat" / "notes.txt").write_text("no image")
    (pets / "cat" / "._000.png").write_text("as a Mac leaves them")
    (pets / ".cache").mkdir()
    assert data.task("folder", pets).fingerprint() == before


def truncate(file):
    file.write_bytes(file.read_bytes()[:60])


@pytest.mark.parametrize(
    "damage", [truncate, lambda file: file.write_bytes(b""), lambda file: file.write_bytes(b"not a picture")]
)
def test_a_corrupt_image_is_named(pets, damage):
    damage(pets / "dog" / "007.png")
    with pytest.raises(data.DataError, match=r"dog/007.png: not a readable image"):
        data.task("folder", pets)


def test_all_corrupt_images_are_named_at_once(tmp_path):
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            write(tmp_path / part / name, 12)
    broken = [tmp_path / "train/dog/007.png", tmp_path / "test/cat/001.png", tmp_path / "test/dog/003.png"]
    truncate(broken[0])
    broken[1].write_bytes(b"not a picture")  # its header is damaged already, those of the others are not
    Image.fromarray(np.zeros((6, 5), np.float32)).save(broken[2], "tiff")
    with pytest.raises(data.DataError, match=r"^3 of 48 images cannot be read. Replace or remove them:") as caught:
        data.task("folder", tmp_path)
    lines = str(caught.value).splitlines()[1:]
    assert [line.split(": ")[0].strip() for line in lines] == [str(file) for file in broken]
    assert "not a readable image (" in lines[0]
    assert "cannot identify" in lines[1]
    assert "holds float pixels" in lines[2]
    with pytest.raises(data.DataError, match=r"^2 of 24 images"):
        data.read_split(tmp_path / "test", ("cat", "dog"), (3, 6, 5))


def test_of_many_corrupt_images_twenty_are_listed(tmp_path):
    write(tmp_path / "cat", 30)
    write(tmp_path / "dog", 30)
    for i in range(25):
        truncate(tmp_path / "dog" / f"{i:03d}.png")
    with pytest.raises(data.DataError, match=r"^25 of 60 images cannot be read") as caught:
        data.task("folder", tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 22
    assert "dog/019.png: not a readable image" in lines[20]
    assert lines[21].strip() == "and 5 more"


def test_a_network_of_two_channels_is_told_so_once(pets):
    with pytest.raises(data.DataError, match=r"cat/000.png: an image file has 1 channel.*has 2\."):
        data.read_split(pets, ("cat", "dog"), (2, 6, 5))


def test_a_folder_that_is_none_or_empty_is_named(tmp_path):
    with pytest.raises(data.DataError, match="nowhere: no such folder"):
        data.task("folder", tmp_path / "nowhere")
    with pytest.raises(data.DataError, match="0 class folders"):
        data.task("folder", tmp_path)
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    with pytest.raises(data.DataError, match=r"no images right inside its folders \['cat', 'dog'\]"):
        data.task("folder", tmp_path)
    write(tmp_path / "cat", 30)
    for few in (0, 3):
        write(tmp_path / "dog", few)
        told = (
            rf"no image of \['dog'\] in the .*'dog' has {few} images in all: add images of that class, or leave it out"
        )
        with pytest.raises(data.DataError, match=told):
            data.task("folder", tmp_path)


def test_one_class_is_refused_before_an_image_is_read(tmp_path):
    write(tmp_path / "cat", 1)
    truncate(tmp_path / "cat" / "000.png")
    with pytest.raises(
        data.DataError, match=r"1 class folders\. Make one sub-folder of images per class, at least two"
    ):
        data.task("folder", tmp_path)


def write_deep(folder, highest):
    folder.mkdir()
    for i, top in enumerate(highest):
        Image.fromarray(np.linspace(0, top, 30).astype(np.uint16).reshape(6, 5)).save(folder / f"{i:03d}.png")


def test_sixteen_bits_have_one_scale_in_a_whole_folder(tmp_path):
    write_deep(tmp_path / "cat", [300, 4000] * 5)
    write_deep(tmp_path / "dog", [3000] * 9 + [4096])  # the others are dark, and stay so
    task = data.task("folder", tmp_path)
    files = [*(tmp_path / "cat").iterdir(), *(tmp_path / "dog").iterdir()]
    read = {data.read_image(file, task.input).tobytes() for file in files}  # one by one, as `predict` does
    assert {image.numpy().tobytes() for split in task.splits.values() for image in split.images} == read
    assert max(int(split.images.max()) for split in task.splits.values()) == 16


def test_twelve_bits_in_sixteen_are_refused_by_name(tmp_path):
    write_deep(tmp_path / "cat", [300, 4000] * 5)
    write_deep(tmp_path / "dog", [3000] * 9 + [4095])
    message = r"dog/009.png: the brightest of 20 images of 16 bits reaches 4095 of 65535.*fill 0..65535"
    with pytest.raises(data.DataError, match=message):
        data.task("folder", tmp_path)
    with pytest.raises(data.DataError, match=message):
        data.read_split(tmp_path, ("cat", "dog"), (1, 6, 5))
    write(tmp_path / "dog", 1, shape=(6, 5))  # a bright image of 8 bits beside them changes nothing
    with pytest.raises(data.DataError, match=r"dog/009.png: the brightest of 19 images"):
        data.task("folder", tmp_path)


def test_transparent_images_are_read_as_predict_reads_them(tmp_path):
    hidden = np.zeros((6, 5, 4), np.uint8)
    hidden[..., 0] = np.arange(5) * 50  # red, seen through a half-transparent column only
    hidden[:, 2, 3] = 128
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(10):
            Image.fromarray(hidden).save(tmp_path / name / f"{i}.png")
    task = data.task("folder", tmp_path)
    seen = data.read_image(tmp_path / "cat" / "0.png", task.input)
    assert seen[:, :, [0, 1, 3, 4]].min() == 255
    assert seen[:, 0, 2].tolist() == [177, 127, 127]
    assert all((split.images.numpy() == seen).all() for split in task.splits.values())


def test_an_unknown_class_in_test_is_named(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / "train" / name, 10)
    write(tmp_path / "test" / "cow", 3)
    with pytest.raises(data.DataError, match=r"test: class folders \['cow'\] are not among the classes"):
        data.task("folder", tmp_path)


def test_read_split_takes_known_classes_and_a_network_input(pets):
    found = data.read_split(pets, ("bird", "cat", "dog"), (1, 4, 4))
    assert found.images.shape == (40, 1, 4, 4)
    assert found.labels.bincount().tolist() == [0, 20, 20]
    with pytest.raises(data.DataError, match="'dog'"):
        data.read_split(pets, ("cat", "bird"), (3, 6, 5))


def test_what_is_passed_over_is_told(pets):
    assert data.task("folder", pets).notes == ()
    write(pets / "cat" / "more", 3)
    for i in range(2):
        (pets / "dog" / f"{i}.HEIC").write_bytes(b"of a phone")
    (pets / "dog" / "labels").write_text("cat dog")
    (pets / "dog" / ".DS_Store").touch()
    (note,) = data.task("folder", pets).notes
    assert note == (
        f"{pets}: only images right inside the class folders are read: in cat 20 images, not read more/; "
        "in dog 20 images, not read 2 .heic, 1 labels"
    )


def test_a_part_beside_train_and_test_is_told(tmp_path):
    for part, name in [(part, name) for part in ("train", "test", "val") for name in ("cat", "dog")]:
        write(tmp_path / part / name, 20, seed=len(part) * ord(name[0]))
    (note,) = data.task("folder", tmp_path).notes
    assert note == f"{tmp_path}: read are train/ and test/; not read: val/"


def test_images_that_several_splits_share_are_counted(tmp_path):
    write(tmp_path / "cat", 20)
    write(tmp_path / "dog", 1, seed=1)
    for i in range(1, 20):
        (tmp_path / "dog" / f"{i:03d}.png").write_bytes((tmp_path / "dog" / "000.png").read_bytes())
    task = data.task("folder", tmp_path)
    dogs = {name: int((split.labels == 1).sum()) for name, split in task.splits.items()}
    assert task.notes == (
        f"select: {dogs['select']} of 6 images are, pixel for pixel, also in train",
        f"calibrate: {dogs['calibrate']} of 4 images are, pixel for pixel, also in train or select",
        f"test: {dogs['test']} of 8 images are, pixel for pixel, also in train, select or calibrate",
    )


def test_photos_larger_than_memory_are_told(pets):
    with pytest.raises(data.DataError, match=r"40 images of 1000000 x 1000000 pixels take 120,000 GB.*Set size"):
        data.task("folder", pets, size=(10**6, 10**6))


def test_turned_photographs_of_every_format_are_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for seed, (name, suffix) in enumerate((("cat", "tif"), ("dog", "png"))):
        (tmp_path / name).mkdir()
        for i, image in enumerate(np.random.default_rng(seed).integers(0, 256, (12, 4, 6, 3)).astype(np.uint8)):
            Image.fromarray(image).save(tmp_path / name / f"{i}.{suffix}", exif=exif)
    assert data.task("folder", tmp_path).input == (3, 6, 4)


def test_twelve_bits_in_the_test_part_alone_are_refused(tmp_path):
    for part, highest in (("train", 65535), ("test", 4000)):
        (tmp_path / part).mkdir()
        for name in ("cat", "dog"):
            write_deep(tmp_path / part / name, [highest] * 12)
    with pytest.raises(data.DataError, match=r"test/cat/000.png: the brightest of 24 images of 16 bits reaches 4000"):
        data.task("folder", tmp_path)


def test_photos_are_mirrored_and_shifted_by_an_eighth_of_their_height(tmp_path):
    for seed, name in enumerate(("cat", "dog")):
        write(tmp_path / name, 20, shape=(24, 48, 3), seed=seed)
    assert data.task("folder", tmp_path).augment == data.Augment(flip=True, pad=3)
    assert data.task("folder", tmp_path, size=(7, 48)).augment == data.Augment(flip=True, pad=1)


def test_colour_and_size_are_told_from_the_test_part_too(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / "train" / name, 20, shape=(6, 5))
        write(tmp_path / "test" / name, 3, shape=(6, 5), seed=9)
    assert data.task("folder", tmp_path).input == (1, 6, 5)
    write(tmp_path / "test" / "dog", 1)
    assert data.task("folder", tmp_path).input == (3, 6, 5)
    write(tmp_path / "test" / "dog", 1, shape=(7, 5))
    with pytest.raises(data.DataError, match=r"test/dog/000.png: 7 x 5 .*Set size"):
        data.task("folder", tmp_path)


def test_a_folder_named_like_an_image_is_passed_over_and_told(pets):
    write(pets / "cat" / "old.png", 1)
    task = data.task("folder", pets)
    assert sum(map(len, task.splits.values())) == 40
    assert any("in cat 20 images, not read old.png/" in note for note in task.notes)
