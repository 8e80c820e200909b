"""Networks of the papers' spaces at few bits: resized images, gates, squeeze-excite, hard swish."""

import pytest
import torch
from tiny_networks import images

from offramp.nn import Supernet
from offramp.nn.quantize import quantize
from offramp.nn.rounding import RoundedLayer, Rounding
from offramp.spaces import space
from offramp.training import reestimate

SMALL = {"depths": (1,), "kernels": (3, 5), "expansions": (2,), "width": 0.2}
OPTIONS = {"nachos": {"branch_widths": (4, 6)}, "edanas": {}, "aebnas": {"resolutions": (24,)}}
SHAPE = (3, 32, 32)


def slice_of(name, *pairs):
    found = space(name, SHAPE, 5, **SMALL, **OPTIONS[name], bits=pairs)
    net, some = Supernet(found).slice(found.largest()), images(64, SHAPE).byte()
    reestimate(net, some)
    return net, quantize(net, some), some.float()


@pytest.mark.parametrize("backbone, branch", [(4, 8), (8, 4), (2, 3)])
def test_a_resized_image_keeps_its_8_bits_until_a_layer_has_read_it(backbone, branch):
    _, few, _ = slice_of("aebnas", (backbone, branch))
    first, convolution = few.ordered[0].blocks[0], few.ordered[0].blocks[1].conv
    assert (few.entry.levels, first.resized.levels) == (256, 256)
    assert convolution.act[-1].levels == 2**backbone
    assert convolution.conv.bits == backbone
    resized = [head.blocks[0].resized.levels for head in (few.ordered[i].exit for i in range(4))]
    assert resized == [2**branch] * 4


@pytest.mark.parametrize("name", OPTIONS)
def test_every_layer_rounds_and_8_bits_are_nearer_than_4(name):
    errors = []
    for bits in (8, 4):
        net, few, x = slice_of(name, (bits, bits))
        layers = [m for m in few.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
        assert all(isinstance(layer, RoundedLayer) and layer.bits == bits for layer in layers)
        assert all(layer.sources for layer in layers)  # what it reads is rounded, and it knows the step
        # In a gate, a hard swish or a product: every rounding is one that was calibrated.
        assert all(m.step.item() != 1 for m in few.modules() if isinstance(m, Rounding))
        with torch.no_grad():
            exact, rounded = net.eval()(x), few(x)
        assert rounded.shape == exact.shape
        errors.append(((rounded - exact)[:, 0].square().mean() / exact[:, 0].var()).item())
    assert errors[0] < 0.1
    assert errors[0] < 0.3 * errors[1]
