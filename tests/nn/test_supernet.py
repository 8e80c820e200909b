from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tiny_networks import SPACE, images

from offramp.architecture import Architecture
from offramp.nn import EarlyExitNet, Supernet
from offramp.nn.supernet import shared_name
from offramp.spaces import SearchSpace, space

SHAPE = (3, 16, 16)


@pytest.fixture(scope="module")
def found() -> SearchSpace:
    return space("offramp", SHAPE, 5, **SPACE)


@pytest.fixture
def supernet(found) -> Supernet:
    made = Supernet(found, seed=0)
    made.normalise((100.0, 120.0, 140.0), (50.0, 60.0, 70.0))
    with torch.no_grad():  # norms that differ from channel to channel, so that a wrong slice shows
        generator = torch.Generator().manual_seed(1)
        for parameter in made.parameters():
            if parameter.ndim == 1:
                parameter += torch.randn(parameter.shape, generator=generator) * 0.3
    return made


def networks(found: SearchSpace) -> list[Architecture]:
    return [found.smallest(), found.largest(), *(found.sample(seed) for seed in range(8))]


def test_a_slice_built_on_its_own_gives_the_supernet_s_logits(found, supernet):
    x = images(6, SHAPE)
    for architecture in networks(found):
        alone = supernet.slice(architecture)
        assert isinstance(alone, EarlyExitNet)
        torch.testing.assert_close(alone.train()(x), supernet(x, architecture))


def test_variants_give_the_logits_of_their_own_slices(found, supernet):
    x = images(6, SHAPE)
    for group in found.sandwich(np.random.default_rng(0), 2, variants=2):
        together = supernet(x, *group)
        apart = torch.cat([supernet.slice(architecture).train()(x) for architecture in group], 1)
        torch.testing.assert_close(together, apart)


def test_a_slice_holds_leading_channels_and_the_centre_of_kernels(found, supernet):
    for architecture in networks(found):
        for name, part in supernet.slice(architecture).named_parameters():
            whole = supernet.weights[shared_name(architecture, name)]
            if part.ndim == 4:
                border = (whole.shape[2] - part.shape[2]) // 2
                inner = slice(border, whole.shape[2] - border)
                expected = whole[: part.shape[0], : part.shape[1], inner, inner]
            else:
                expected = whole[tuple(slice(0, size) for size in part.shape)]
            assert torch.equal(part, expected), name


def test_a_slice_is_a_copy_with_unset_statistics(found, supernet):
    alone = supernet.slice(found.smallest())
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    with torch.no_grad():
        for parameter in alone.parameters():
            parameter += 1
    alone.normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet.state_dict().items())
    buffers = dict(supernet.slice(found.smallest()).named_buffers())
    assert torch.equal(buffers.pop("mean"), supernet.mean)
    assert torch.equal(buffers.pop("std"), supernet.std)
    for name, buffer in buffers.items():
        assert (buffer == (1 if name.endswith("running_var") else 0)).all()


def test_gradients_reach_shared_weights_only_inside_the_slice(found, supernet):
    for architecture in networks(found)[1:5]:
        supernet.zero_grad(set_to_none=True)
        supernet(images(6, SHAPE), architecture).square().sum().backward()
        inside = {shared_name(architecture, name): p.shape for name, p in EarlyExitNet(architecture).named_parameters()}
        reached = set()
        for key, weight in supernet.weights.items():
            if key not in inside:
                assert weight.grad is None or not weight.grad.any(), key
                continue
            marked = torch.zeros_like(weight)
            borders = [(w - p) // 2 if dim > 1 else 0 for dim, (w, p) in enumerate(zip(weight.shape, inside[key]))]
            marked[tuple(slice(b, b + p) for b, p in zip(borders, inside[key]))] = 1
            assert weight.grad is not None
            assert not (weight.grad * (1 - marked)).any(), key
            if weight.grad.any():
                reached.add(key)
        # Dead units may leave a tensor or two without gradient, not more.
        assert len(reached) >= 0.9 * len(inside)


def test_gradients_are_those_of_the_slice_alone(found, supernet):
    architecture, x = found.sample(3), images(6, SHAPE)
    supernet(x, architecture).square().sum().backward()
    alone = supernet.slice(architecture).train()
    alone(x).square().sum().backward()
    for name, parameter in alone.named_parameters():
        shared = supernet._view(shared_name(architecture, name), parameter.shape)
        whole = supernet.weights[shared_name(architecture, name)]
        assert shared.shape == parameter.shape
        assert whole.grad is not None
        assert parameter.grad is not None
        torch.testing.assert_close(whole.grad.sum(), parameter.grad.sum(), rtol=1e-3, atol=1e-2)
        torch.testing.assert_close(whole.grad.norm(), parameter.grad.norm(), rtol=1e-3, atol=1e-3)


def test_two_threads_at_once_do_as_one_after_the_other(found, supernet):
    """Each with other architectures, one of them the same; logits and gradients are exactly those of one thread."""
    jobs = [(images(6, SHAPE, seed=i), found.sample(i // 2)) for i in range(12)]
    parameters = list(supernet.parameters())

    def run(job):
        x, architecture = job
        logits = supernet(x, architecture)
        found = torch.autograd.grad(logits.square().sum(), parameters, allow_unused=True)
        return logits.detach(), found

    one_by_one = [run(job) for job in jobs]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            at_once = list(pool.map(run, jobs))
            for (logits, gradients), (expected, wanted) in zip(at_once, one_by_one):
                torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
                for gradient, other in zip(gradients, wanted):
                    assert (gradient is None) == (other is None)
                    if gradient is not None:
                        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-3)


def test_a_thread_that_scores_does_not_cut_off_the_gradients_of_one_that_trains(found, supernet):
    """Views of shared weights that are made without gradients lead to none: they must not replace another thread's."""
    x, architecture = images(4, SHAPE), found.sample(0)
    parameters = list(supernet.parameters())
    expected = torch.autograd.grad(supernet(x, architecture).square().sum(), parameters, allow_unused=True)
    mine = supernet._bound(architecture)

    def score_elsewhere() -> None:
        with torch.inference_mode():
            supernet(x, architecture)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(score_elsewhere).result()
    gradients = torch.autograd.grad(mine(x).square().sum(), parameters, allow_unused=True)
    assert [gradient is None for gradient in gradients] == [wanted is None for wanted in expected]


def test_state_comes_back(found, supernet):
    other = Supernet(found, seed=5)
    x, architecture = images(4, SHAPE), found.sample(1)
    assert not torch.equal(other(x, architecture), supernet(x, architecture))
    other.load_state_dict(supernet.state_dict())
    assert torch.equal(other(x, architecture), supernet(x, architecture))
    assert torch.equal(other.mean, supernet.mean)


def test_weights_are_the_seed_s(found):
    one, same, other = (Supernet(found, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_more_architectures_than_are_kept_give_the_same_logits(found, supernet):
    x, first = images(4, SHAPE), found.sample(0)
    before = supernet(x, first)
    for seed in range(1, 70):
        supernet._bound(found.sample(seed))
    assert len(supernet._local.templates) <= 64
    assert torch.equal(supernet(x, first), before)


def test_a_step_of_the_shared_weights_shows_in_the_next_call(found, supernet):
    x, architecture = images(4, SHAPE), found.sample(0)
    before = supernet(x, architecture)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter *= 1.1
    assert not torch.allclose(supernet(x, architecture), before)


def test_a_cover_whose_shapes_do_not_nest_is_refused(found):
    class Crooked:
        name, input = "crooked", SHAPE

        def cover(self):
            return [found.smallest(), found.largest()]

    with pytest.raises(ValueError, match=r"space 'crooked': cover\(\) gives two shapes for "):
        Supernet(Crooked())  # type: ignore[arg-type]
