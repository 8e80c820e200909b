import numpy as np
import pytest
from PIL import Image

from offramp.data import DataError
from offramp.data.image import image_header, read_image


def save(tmp_path, array, name="x.png", **options):
    Image.fromarray(np.asarray(array)).save(tmp_path / name, **options)
    return tmp_path / name


def test_colours_come_channels_first(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    found = read_image(save(tmp_path, pixels), (3, 4, 5))
    assert found.dtype == np.uint8
    assert found.flags["C_CONTIGUOUS"]
    assert np.array_equal(found, pixels.transpose(2, 0, 1))


def test_grey_and_colour_are_converted(tmp_path):
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    file = save(tmp_path, grey)
    assert np.array_equal(read_image(file, (1, 4, 5)), grey[None])
    assert np.array_equal(read_image(file, (3, 4, 5)), np.stack([grey] * 3))
    assert read_image(save(tmp_path, np.stack([grey] * 3, -1)), (1, 4, 5)).shape == (1, 4, 5)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    deep = (np.arange(20, dtype=np.uint16).reshape(4, 5) * 3000).astype(np.uint16)
    file = save(tmp_path, deep)
    assert image_header(file) == (True, (4, 5))
    assert np.array_equal(read_image(file, (1, 4, 5))[0], deep >> 8)


def test_size_is_height_then_width(tmp_path):
    pixels = np.zeros((8, 4, 3), np.uint8)
    pixels[4:] = 200
    found = read_image(save(tmp_path, pixels), (3, 4, 6))
    assert found.shape == (3, 4, 6)
    assert (found[:, 0] < 50).all()
    assert (found[:, -1] > 150).all()


def test_a_photograph_is_turned_upright(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    file = save(tmp_path, pixels, exif=exif)
    assert image_header(file) == (False, (6, 4))
    assert np.array_equal(read_image(file, (3, 6, 4)).transpose(1, 2, 0), np.rot90(pixels, -1))


def test_errors_name_the_file_or_the_argument(tmp_path):
    with pytest.raises(DataError, match=r"none.png: no such file"):
        read_image(tmp_path / "none.png", (3, 4, 4))
    (tmp_path / "bad.png").write_bytes(b"bad")
    with pytest.raises(DataError, match=r"bad.png: not a readable image"):
        read_image(tmp_path / "bad.png", (3, 4, 4))
    with pytest.raises(DataError, match=r"float.tif: holds float pixels"):
        read_image(save(tmp_path, np.zeros((4, 4), np.float32), "float.tif"), (1, 4, 4))
    with pytest.raises(DataError, match=r"input=\(2, 4, 4\)"):
        read_image(tmp_path / "bad.png", (2, 4, 4))
