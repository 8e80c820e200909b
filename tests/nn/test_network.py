from itertools import pairwise, product
from math import inf

import numpy as np
import pytest
import torch
from tiny_networks import SPACE, images, lively, three_exits

from offramp.nn import build
from offramp.policy import MEASURES, Policy, ScoreTable
from offramp.spaces import SPACES, space
from own_backbone import needed


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 8, 8), (3, 13, 21)])
@pytest.mark.parametrize("name", SPACES)
def test_logits_of_every_exit(name, shape):
    found = space(name, shape, classes=5, **needed(name))
    for architecture in [*(found.sample(seed) for seed in range(3)), found.smallest()]:
        net = build(architecture, 0).eval()
        with torch.inference_mode():
            logits = net(images(3, shape))
            maps = net.features(images(3, shape))
            again = net.classify(maps)
        assert logits.shape == (3, len(architecture.exits), 5 + int(architecture.gated))
        assert torch.isfinite(logits).all()
        assert len(maps) == len(architecture.exits)
        assert torch.equal(again, logits)


def test_building_is_the_seed_s():
    one, same, other = (build(three_exits(), seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    torch.manual_seed(0)
    assert not torch.equal(build(three_exits()).stages[0].blocks[0].conv.conv.weight,
                           build(three_exits()).stages[0].blocks[0].conv.conv.weight)  # fmt: skip


def test_normalisation_is_inside_the_network():
    net, x = lively(three_exits()), images(4, (2, 9, 7))
    net.normalise((10.0, 200.0), (2.0, 50.0))
    expected = torch.stack([(x[:, 0] - 10) / 2, (x[:, 1] - 200) / 50], 1)
    torch.testing.assert_close(net.enter(x), expected)
    assert net.state_dict()["mean"].shape == (2, 1, 1)
    outside = lively(three_exits())
    outside.normalise((0.0, 0.0), (1.0, 1.0))
    torch.testing.assert_close(outside(expected), net(x))


@pytest.fixture(scope="module")
def net():
    return lively(three_exits())


@pytest.fixture(scope="module")
def seen(net) -> tuple[torch.Tensor, ScoreTable]:
    x = images(60, (2, 9, 7))
    with torch.inference_mode():
        return x, ScoreTable(net(x).numpy(), np.zeros(60, np.int64))


def cuts(scores: np.ndarray) -> list[float]:
    """Thresholds that rounding does not move a score across: below, within, above all, and the infinite ones."""
    gaps = sorted(((b - a, (a + b) / 2) for a, b in pairwise(sorted(scores.astype(float)))), reverse=True)
    middle = sorted(cut for gap, cut in gaps[:6] if gap > 1e-3)
    assert len(middle) >= 2
    return [-inf, middle[0], middle[-1], inf]


@pytest.mark.parametrize("measure", MEASURES)
def test_inference_decides_as_the_policy_does_on_the_table(net, seen, measure):
    x, table = seen
    scores, taken_anywhere = table.scores(measure), set()
    for thresholds in product(cuts(scores[:, 0]), cuts(scores[:, 1])):
        policy = Policy(measure, thresholds)
        logits, taken = net.infer(x, policy)
        exits = policy.decide(table)
        np.testing.assert_array_equal(taken.numpy(), exits)
        np.testing.assert_allclose(logits.numpy(), table.logits[np.arange(60), exits], rtol=1e-4, atol=1e-4)
        taken_anywhere.add(tuple(np.bincount(exits, minlength=3) > 0))
    assert (True, True, True) in taken_anywhere


@pytest.mark.parametrize("measure", MEASURES)
def test_a_threshold_between_two_floats_is_not_rounded(net, seen, measure):
    """Scores are float32, thresholds Python floats: half a step above a score is above it."""
    x, table = seen
    score = table.scores(measure)[:, 0].max()
    above = (float(score) + float(np.nextafter(score, np.float32(2)))) / 2
    above = float(np.nextafter(float(score), above))
    assert np.float32(above) == score
    policy = Policy(measure, (above, inf))
    assert (policy.decide(table) == 2).all()
    assert (net.infer(x, policy)[1] == 2).all()
    assert (net.infer(x, Policy(measure, (float(score), inf)))[1] == 0).sum() == 1


def test_stages_behind_the_exit_taken_are_not_run(net, seen):
    x, _ = seen
    carried: list[int] = []
    hooks = [stage.register_forward_hook(lambda _m, args, _o: carried.append(len(args[0]))) for stage in net.stages]
    try:
        net.infer(x, Policy("margin", (-inf, inf)))
        assert carried == [60]
        carried.clear()
        cut = float(np.median(seen[1].scores("margin")[:, 0]))
        net.infer(x, Policy("margin", (cut, -inf)))
        assert carried == [60, int((seen[1].scores("margin")[:, 0] < cut).sum())]
    finally:
        for hook in hooks:
            hook.remove()


def test_one_image_decides_as_in_a_batch(net, seen):
    x, table = seen
    policy = Policy("max_probability", (cuts(table.scores("max_probability")[:, 0])[2], inf))
    alone = torch.cat([net.infer(image[None], policy)[1] for image in x[:20]])
    np.testing.assert_array_equal(alone.numpy(), policy.decide(table)[:20])


@pytest.mark.parametrize("thresholds", [(), (0.5,), (0.5, 0.5, 0.5)])
def test_the_number_of_thresholds_must_fit(net, thresholds):
    with pytest.raises(ValueError, match=rf"{len(thresholds)} thresholds; a network of 3 exits needs 2"):
        net.infer(images(1, (2, 9, 7)), Policy("margin", thresholds))


def test_a_static_network_has_one_exit_and_no_thresholds():
    found = space("offramp", (3, 16, 16), 5, **SPACE)
    net, x = lively(found.smallest()), images(3, (3, 16, 16))
    logits, taken = net.infer(x, Policy("entropy", ()))
    assert taken.tolist() == [0, 0, 0]
    torch.testing.assert_close(logits, net(x)[:, 0])
