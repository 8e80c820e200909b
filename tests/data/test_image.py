import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps

from offramp.data import DataError
from offramp.data.image import image_files, image_header, read_image, read_with_peak


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


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_mean_the_same_in_every_format_and_at_any_brightness(tmp_path, suffix):
    dark = np.arange(20, dtype=np.uint16).reshape(4, 5) * 50
    found, peak = read_with_peak(save(tmp_path, dark, f"x.{suffix}"), (1, 4, 5))
    assert np.array_equal(found[0], dark >> 8)
    assert peak == 950
    assert read_with_peak(save(tmp_path, dark.astype(np.uint8)), (1, 4, 5))[1] is None


@pytest.mark.parametrize("highest", [200, 4095, 70_000])
def test_whole_numbers_of_32_bits_are_refused_whatever_they_hold(tmp_path, highest):
    file = save(tmp_path, np.linspace(0, highest, 20, dtype=np.int32).reshape(4, 5), "deep.tif")
    with pytest.raises(DataError, match=r"deep.tif: holds 32-bit or signed pixels.*or to 16 that fill 0..65535"):
        read_image(file, (1, 4, 5))


@given(pixels=arrays(np.uint8, (3, 4, 4)))
def test_transparent_pixels_are_laid_over_white(tmp_path_factory, pixels):
    file = save(tmp_path_factory.mktemp("x"), pixels)
    alpha = pixels[..., 3:] / 255
    seen = pixels[..., :3] * alpha + 255 * (1 - alpha)
    np.testing.assert_allclose(read_image(file, (3, 3, 4)).transpose(1, 2, 0), seen, atol=1)
    grey = seen @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(read_image(file, (1, 3, 4))[0], grey, atol=2)


@given(pixels=arrays(np.uint8, (3, 4, 2)), channels=st.sampled_from([1, 3]))
def test_grey_with_transparency_too(tmp_path_factory, pixels, channels):
    file = save(tmp_path_factory.mktemp("x"), pixels)
    assert image_header(file) == (True, (3, 4))
    alpha = pixels[..., 1] / 255
    seen = pixels[..., 0] * alpha + 255 * (1 - alpha)
    for found in read_image(file, (channels, 3, 4)):
        np.testing.assert_allclose(found, seen, atol=1)


def test_an_opaque_image_keeps_its_colours_exactly(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 4)).astype(np.uint8)
    pixels[..., 3] = 255
    assert np.array_equal(read_image(save(tmp_path, pixels), (3, 4, 5)), pixels[..., :3].transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["x.png", "x.gif"])
def test_a_palette_s_transparent_entry_is_white(tmp_path, name):
    picture = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    picture.putpalette([10, 20, 30, 200, 0, 0, 70, 80, 90])
    picture.save(tmp_path / name, transparency=1)
    found = read_image(tmp_path / name, (3, 2, 2)).transpose(1, 2, 0)
    assert found.tolist() == [[[10, 20, 30], [255] * 3], [[70, 80, 90], [255] * 3]]


@pytest.mark.parametrize(
    "pixels, key, seen",
    [
        (np.array([[5, 6]], np.uint8), 6, [[5, 255]]),
        (np.array([[[1, 2, 3], [4, 4, 4]]], np.uint8), (1, 2, 3), [[255, 4]]),
        (np.array([[0x0510, 0x0511]], np.uint16), 0x0511, [[5, 255]]),
    ],
)
def test_a_png_s_transparent_colour_is_white(tmp_path, pixels, key, seen):
    assert read_image(save(tmp_path, pixels, transparency=key), (1, 1, 2))[0].tolist() == seen


def test_a_transparent_image_is_resized_as_it_is_seen(tmp_path):
    pixels = np.zeros((4, 4, 4), np.uint8)  # black everywhere, hidden in the right half
    pixels[:, :2, 3] = 255
    found = read_image(save(tmp_path, pixels), (3, 2, 2))
    assert (found[..., 0] < 64).all()
    assert (found[..., 1] > 191).all()


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


def test_image_files_are_those_of_all_folders_within_in_order(tmp_path):
    with pytest.raises(DataError, match=r"no images in this folder\. Images end in \.bmp"):
        image_files(tmp_path)
    for folder in ("b/deep", "a", ".cache", "b.png"):
        (tmp_path / folder).mkdir(parents=True)
    names = ["a/2.PNG", "b/deep/1.jpg", "b.png/0.gif", "c.tif"]
    for name in [*names, "a/notes.txt", "a/._2.png", ".cache/3.png"]:
        (tmp_path / name).touch()
    assert image_files(tmp_path) == sorted(tmp_path / name for name in names)


def test_errors_name_the_file_or_the_argument(tmp_path):
    with pytest.raises(DataError, match=r"none.png: no such file"):
        read_image(tmp_path / "none.png", (3, 4, 4))
    (tmp_path / "bad.png").write_bytes(b"bad")
    with pytest.raises(DataError, match=r"bad.png: not a readable image"):
        read_image(tmp_path / "bad.png", (3, 4, 4))
    with pytest.raises(DataError, match=r"float.tif: holds float pixels"):
        read_image(save(tmp_path, np.zeros((4, 4), np.float32), "float.tif"), (1, 4, 4))


@pytest.mark.parametrize("channels", [2, 4])
def test_a_file_has_no_other_number_of_channels_and_what_to_do_is_said(tmp_path, channels):
    file = save(tmp_path, np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(DataError, match=rf"x.png: .*input=\({channels}, 4, 4\) has {channels}.*arrays .*Model.predict"):
        read_image(file, (channels, 4, 4))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("orientation", range(10))
def test_the_header_tells_the_shape_that_is_read(tmp_path, orientation, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = save(tmp_path, pixels, f"x.{suffix}", exif=exif)
    shape = (6, 4) if orientation in (5, 6, 7, 8) else (4, 6)
    assert image_header(file) == (False, shape)
    with Image.open(file) as picture:
        assert ImageOps.exif_transpose(picture).size == shape[::-1]
