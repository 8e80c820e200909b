"""That training learns: on real digits, in seconds; statistics and scores besides."""

import numpy as np
import pytest
import torch

from offramp.data import SearchData, Split
from offramp.nn import Supernet, build
from offramp.nn.blocks import batch_norms
from offramp.training import SupernetSettings, TrainSettings, reestimate, score, train, train_supernet


def test_from_scratch_beats_chance_at_every_exit(digits, two_exits):
    settings = TrainSettings(backbone_epochs=1, joint_epochs=11, batch=32)
    net = train(two_exits, digits, settings)
    table = score(net, digits.select)
    assert (table.exit_accuracy > [0.4, 0.8]).all()
    assert not net.training
    assert net.mean.flatten().tolist() == pytest.approx(digits.mean)
    assert [norm.momentum for norm in batch_norms(net)] == [0.1] * len(batch_norms(net))


@pytest.fixture(scope="module")
def supernet(digits, tiny) -> Supernet:
    return train_supernet(tiny, digits, SupernetSettings(epochs=6, batch=32, lr=0.2))


def test_slices_of_a_trained_supernet_beat_chance_as_they_are(supernet, digits, tiny):
    for architecture in [tiny.smallest(), tiny.largest(), *(tiny.sample(seed) for seed in range(3))]:
        net = supernet.slice(architecture)
        reestimate(net, digits.train.images[:500])
        accuracy = score(net, digits.select).exit_accuracy
        assert accuracy[-1] > 0.6
        assert accuracy.min() > 0.3


def test_training_a_slice_goes_on_from_what_it_knows(supernet, digits, tiny):
    architecture, settings = tiny.largest(), TrainSettings(backbone_epochs=0, joint_epochs=1, batch=64, lr=0.02)
    inherited = score(train(architecture, digits, settings, supernet=supernet), digits.select).exit_accuracy
    scratch = score(train(architecture, digits, settings), digits.select).exit_accuracy
    assert (inherited > 0.5).all()
    assert inherited[-1] > scratch[-1]


def test_a_static_network_trains_too(digits, tiny):
    net = train(tiny.smallest(), digits, TrainSettings(backbone_epochs=0, joint_epochs=3, batch=64))
    assert score(net, digits.select).exit_accuracy[0] > 0.3


def test_the_view_without_test_is_all_that_training_sees(digits):
    assert type(digits) is SearchData
    assert not hasattr(digits, "test")
    assert not hasattr(digits, "calibrate")


def test_statistics_are_the_means_over_the_batches(digits, two_exits):
    net = build(two_exits, 0)
    net.normalise(digits.mean, digits.std)
    images = digits.train.images[:90]
    reestimate(net, images, batch=30)
    maps = [net.stages[0].blocks[0].conv.conv(net.enter(chunk.float())) for chunk in images.split(30)]
    norm = net.stages[0].blocks[0].conv.norm
    torch.testing.assert_close(norm.running_mean, torch.stack([x.mean((0, 2, 3)) for x in maps]).mean(0))
    variances = torch.stack([x.transpose(0, 1).flatten(1).var(1) for x in maps])
    torch.testing.assert_close(norm.running_var, variances.mean(0))
    assert not net.training
    assert norm.momentum == 0.1


def test_statistics_do_not_depend_on_those_before(digits, two_exits):
    images, found = digits.train.images[:64], []
    net = build(two_exits, 0)
    for _ in range(2):
        reestimate(net, images, batch=64)
        found.append({name: tensor.clone() for name, tensor in net.named_buffers()})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    # One batch of everything: eval mode then normalises as train mode does, up to n / (n - 1).
    with torch.no_grad():
        evaluated = net(images.float())
        net.train()
        torch.testing.assert_close(net(images.float()), evaluated, rtol=0.05, atol=0.05)


def test_a_short_last_batch_does_not_weigh_as_much_as_a_full_one(two_exits):
    images = torch.zeros(66, 1, 8, 8, dtype=torch.uint8)
    images[-2:] = 255
    net = build(two_exits, 0)
    reestimate(net, images, batch=64)
    grey = torch.full((66, 1, 8, 8), 255 * 2 / 66)
    norm = net.stages[0].blocks[0].conv.norm
    with torch.no_grad():
        expected = net.stages[0].blocks[0].conv.conv(net.enter(grey)).mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, expected)


@pytest.mark.parametrize("count", [0, 1])
def test_statistics_need_two_images(two_exits, count):
    with pytest.raises(ValueError, match=f"images has {count}"):
        reestimate(build(two_exits, 0), torch.zeros(count, 1, 8, 8, dtype=torch.uint8))


def test_the_statistics_of_a_training_are_of_all_classes(digits, two_exits, monkeypatch):
    """A folder's images come class by class: its first images are not a sample of it."""
    import offramp.training._final as final

    order = digits.train.labels.argsort(stable=True)
    by_class = SearchData(
        digits.name,
        digits.classes,
        Split(digits.train.images[order], digits.train.labels[order]),
        digits.select,
        digits.augment,
    )
    seen = []
    monkeypatch.setattr(final, "_STATISTICS_IMAGES", 200)
    monkeypatch.setattr(final, "reestimate", lambda net, images: seen.append(images))
    train(two_exits, by_class, TrainSettings(backbone_epochs=0, joint_epochs=1, batch=256))
    (images,) = seen
    assert images.shape == (200, 1, 8, 8)
    label_of = {
        image.numpy().tobytes(): int(label) for image, label in zip(by_class.train.images, by_class.train.labels)
    }
    labels = [label_of[image.numpy().tobytes()] for image in images]
    assert len(set(labels[:60])) == len(set(labels)) == 10


def test_a_score_table_is_the_network_s_logits(digits, two_exits):
    net, split = build(two_exits, 0), digits.select
    table = score(net, split, batch=100)
    assert table.logits.shape == (len(split), 2, 10)
    np.testing.assert_array_equal(table.labels, split.labels.numpy())
    assert not net.training
    with torch.no_grad():
        expected = net(split.images.float())
    np.testing.assert_allclose(table.logits, expected.numpy(), rtol=1e-4, atol=1e-5)
    assert torch.equal(split.images, digits.select.images)
