import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from offramp.data import Augment, DataError, Split, augment_batch, batches


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(count, channels=3, height=6, width=7, seed=0):
    return torch.randint(1, 256, (count, channels, height, width), generator=generator(seed), dtype=torch.uint8)


def shifted(image, dy, dx):
    """The image moved down by dy and right by dx, its mirror image coming in."""
    _, height, width = image.shape
    pad = max(abs(dy), abs(dx))
    padded = np.pad(image.numpy(), ((0, 0), (pad, pad), (pad, pad)), mode="reflect")
    return torch.from_numpy(padded[:, pad - dy : pad - dy + height, pad - dx : pad - dx + width].copy())


def test_without_flip_and_pad_nothing_changes():
    images = noise(5)
    assert augment_batch(images, Augment(False, 0), generator()).equal(images)


def test_a_flip_mirrors_about_half_of_the_images_whole():
    images = noise(400)
    out = augment_batch(images, Augment(True, 0), generator())
    mirrored = [bool(o.equal(i.flip(2))) for i, o in zip(images, out)]
    kept = [bool(o.equal(i)) for i, o in zip(images, out)]
    assert all(m != k for m, k in zip(mirrored, kept))
    assert 150 < sum(mirrored) < 250


def test_flipping_twice_by_the_same_draws_gives_the_images_back():
    images = noise(50)
    once = augment_batch(images, Augment(True, 0), generator(4))
    assert not once.equal(images)
    assert augment_batch(once, Augment(True, 0), generator(4)).equal(images)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3), st.integers(0, 100), st.sampled_from([(1, 8, 8), (3, 5, 9), (3, 6, 4)]))
def test_a_crop_is_a_translation_by_at_most_pad(pad, seed, shape):
    images = noise(6, *shape)
    out = augment_batch(images, Augment(False, pad), generator(seed))
    steps = range(-pad, pad + 1)
    for image, cropped in zip(images, out):
        assert any(shifted(image, dy, dx).equal(cropped) for dy in steps for dx in steps)


def test_every_translation_occurs_equally_often_and_for_each_image_alone():
    images = noise(1, 1, 8, 8).expand(9000, 1, 8, 8)
    out = augment_batch(images, Augment(False, 1), generator())
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            share = (out == shifted(images[0], dy, dx)).flatten(1).all(1).float().mean()
            assert share == pytest.approx(1 / 9, abs=0.015)


@pytest.mark.parametrize("augment", [Augment(True, 0), Augment(False, 2), Augment(True, 4)])
def test_the_seed_decides_and_the_input_stays(augment):
    images = noise(40)
    before = images.clone()
    first = augment_batch(images, augment, generator(1))
    assert first.dtype == torch.uint8
    assert first.shape == images.shape
    assert first.equal(augment_batch(images, augment, generator(1)))
    assert not first.equal(augment_batch(images, augment, generator(2)))
    assert images.equal(before)


@pytest.fixture
def numbered():
    """23 images whose every pixel is their label."""
    labels = torch.arange(23)
    return Split(labels.to(torch.uint8)[:, None, None, None].expand(23, 1, 2, 2).clone(), labels)


def test_batches_in_order(numbered):
    found = list(batches(numbered, 5))
    assert [len(labels) for _, labels in found] == [5, 5, 5, 5, 3]
    assert torch.cat([labels for _, labels in found]).equal(numbered.labels)


def test_shuffled_batches_hold_every_sample_once_with_its_label(numbered):
    found = list(batches(numbered, 5, shuffle_generator=generator()))
    labels = torch.cat([labels for _, labels in found])
    images = torch.cat([images for images, _ in found])
    assert not labels.equal(numbered.labels)
    assert labels.sort().values.equal(numbered.labels)
    assert images[:, 0, 0, 0].long().equal(labels)


def test_drop_last_leaves_out_the_short_batch(numbered):
    assert [len(labels) for _, labels in batches(numbered, 5, drop_last=True)] == [5, 5, 5, 5]
    assert len(list(batches(numbered, 23, drop_last=True))) == 1
    assert list(batches(numbered, 24, drop_last=True)) == []


def test_epochs_differ_and_can_be_repeated(numbered):
    def labels(source):
        return torch.cat([labels for _, labels in batches(numbered, 4, shuffle_generator=source)])

    source = generator(7)
    first, second = labels(source), labels(source)
    assert not first.equal(second)
    assert labels(generator(7)).equal(first)


def test_batches_augment():
    split = Split(noise(23), torch.arange(23))
    found = list(batches(split, 23, shuffle_generator=generator(), augment=Augment(False, 1)))
    images, labels = found[0]
    kept = [bool(image.equal(split.images[label])) for image, label in zip(images, labels)]
    assert 0 < sum(kept) < 23
    assert all(
        any(shifted(split.images[label], dy, dx).equal(image) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
        for image, label in zip(images, labels)
    )


@pytest.mark.parametrize(
    "arguments, message", [({"size": 0}, "size=0"), ({"size": 4, "augment": Augment(True, 1)}, "shuffle_generator")]
)
def test_a_wrong_call_is_told_at_once(numbered, arguments, message):
    with pytest.raises(DataError, match=message):
        batches(numbered, **arguments)


def test_images_of_one_row_are_shifted_along_it():
    line = noise(5, 1, 1, 9)
    out = augment_batch(line, Augment(False, 1), generator())
    assert out.shape == line.shape
    padded = torch.cat([line[..., 1:2], line, line[..., -2:-1]], 3)
    for image, cropped in zip(padded, out):
        assert any(image[..., x : x + 9].equal(cropped) for x in range(3))
