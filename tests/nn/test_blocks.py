import pytest
import torch
from tiny_networks import images, lively
from torch import nn
from torch.nn import functional as F

from offramp.architecture import Architecture, Bottleneck, Branch, Conv, Separable, Stage
from offramp.layers import Shape, block_layers, branch_layers, layers
from offramp.nn import EarlyExitNet
from offramp.nn.blocks import BottleneckBlock, Head, Unit, batch_norms, init_weights


def head(branch: Branch, shape: Shape) -> Head:
    made = Head(branch, shape, 4)
    init_weights(made, torch.Generator().manual_seed(0))
    return made


@pytest.mark.parametrize("pool", ["avg", "max"])
@pytest.mark.parametrize("grid", [1, 2, 3])
@pytest.mark.parametrize("size", [(6, 6), (7, 5), (2, 9), (1, 1)])
def test_a_head_pools_each_channel_to_a_grid_that_covers_the_map(pool, grid, size):
    made = head(Branch(pool=pool, grid=grid), Shape(3, *size))
    x = images(2, (3, *size))
    rows, columns = (min(grid, s) for s in size)
    assert made.classifier.in_features == 3 * rows * columns
    cells = []
    for i in range(rows):
        for j in range(columns):
            # The last window takes what is left over; the others begin at whole steps and are as long as it is.
            step = [s // g for s, g in zip(size, (rows, columns))]
            length = [s - (g - 1) * t for s, g, t in zip(size, (rows, columns), step)]
            part = x[:, :, i * step[0] : i * step[0] + length[0], j * step[1] : j * step[1] + length[1]]
            cells.append(part.amax((2, 3)) if pool == "max" else part.mean((2, 3)))
    pooled = torch.stack(cells, 2).flatten(1)
    expected = pooled @ made.classifier.weight.T + made.classifier.bias
    torch.testing.assert_close(made(x), expected)


# Strides of a branch, map it reads, grid: all pooled grids must be those of the layer list.
@pytest.mark.parametrize("blocks, size, grid", [(1, 8, 2), (2, 16, 1), (0, 4, 2), (2, 16, 2), (3, 32, 2), (1, 5, 3)])
def test_a_head_is_as_large_as_its_layers_say(blocks, size, grid):
    branch = Branch(blocks=(Separable(out=4, stride=2),) * blocks, grid=grid)
    *_, classifier = branch_layers(branch, Shape(3, size, size), 4)
    assert head(branch, Shape(3, size, size)).classifier.in_features == classifier.shape_in.elements


def test_a_bottleneck_by_its_definition():
    block = Bottleneck(out=6, hidden=10, kernel=5, squeeze=3, act="hardswish")
    made = BottleneckBlock(block_layers(block, Shape(6, 7, 5)))
    init_weights(made, torch.Generator().manual_seed(1))
    made.eval()
    x = images(2, (6, 7, 5)) / 255
    kept = x.clone()

    def norm(y: torch.Tensor) -> torch.Tensor:
        return y / (1 + 1e-5) ** 0.5

    y = F.hardswish(norm(F.conv2d(x, made.expand.conv.weight)))
    y = F.hardswish(norm(F.conv2d(y, made.depthwise.conv.weight, padding=2, groups=10)))
    assert made.squeeze is not None
    scale = F.relu(F.conv2d(y.mean((2, 3), keepdim=True), made.squeeze.reduce.conv.weight))
    y = y * F.hardsigmoid(F.conv2d(scale, made.squeeze.expand.conv.weight))
    expected = x + norm(F.conv2d(y, made.project.conv.weight))
    torch.testing.assert_close(made(x), expected)
    torch.testing.assert_close(x, kept, rtol=0, atol=0)


def test_initial_weights_are_he_s_by_fan_out():
    stages = (Stage(blocks=(Conv(out=64), Separable(out=256, kernel=5)), exit=Branch()),)
    net = EarlyExitNet(Architecture(input=(3, 8, 8), classes=100, stages=stages))
    init_weights(net, torch.Generator().manual_seed(0))
    found = {
        name: p.std().item()
        for name, p in net.named_parameters()
        if name.endswith(("conv.weight", "classifier.weight"))
    }
    assert found == {
        "stages.0.blocks.0.conv.conv.weight": pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.1),
        "stages.0.blocks.1.depthwise.conv.weight": pytest.approx((2 / 25) ** 0.5, rel=0.1),
        "stages.0.blocks.1.pointwise.conv.weight": pytest.approx((2 / 256) ** 0.5, rel=0.1),
        "stages.0.exit.classifier.weight": pytest.approx(256**-0.5, rel=0.1),
    }
    for norm in batch_norms(net):
        assert (norm.weight == 1).all()
        assert (norm.bias == 0).all()
        assert (norm.running_mean == 0).all()
        assert (norm.running_var == 1).all()
    assert (net.stages[0].exit.classifier.bias == 0).all()


def test_layers_run_in_the_order_of_the_list():
    """The list is the order of execution: memory and mappers rely on it."""
    block = Bottleneck(out=3, hidden=6, squeeze=2)
    first = Stage(blocks=(Conv(out=3), block), exit=Branch(blocks=(Separable(out=4),)))
    architecture = Architecture(input=(3, 8, 8), classes=4, stages=(first, Stage(blocks=(block,), exit=Branch())))
    net, ran = lively(architecture), []
    for path, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda *_, path=path: ran.append(path.removesuffix(".conv")))
    net(images(1, (3, 8, 8)))
    parts = [("stages.0", 0, 0), ("stages.1", 1, 0), ("stages.0.exit", 0, 1), ("stages.1.exit", 1, 1)]
    listed = layers(architecture)
    assert ran == [f"{prefix}.{layer.name}" for prefix, i, part in parts for layer in listed[i][part] if layer.weights]


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (2, 1), (3, 3), (5, 2)])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("block", ["depthwise", "dense"])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_rim_of_a_kernel_that_reads_padding_alone_is_left_out_in_training(size, kernel, block, stride):
    blocks = {"depthwise": Separable(out=5, kernel=kernel, stride=stride),
              "dense": Conv(out=5, kernel=kernel, stride=stride, norm=False)}  # fmt: skip
    layer = next(layer for layer in block_layers(blocks[block], Shape(4, *size)) if layer.kernel == kernel)
    unit = Unit(layer)
    init_weights(unit, torch.Generator().manual_seed(0))
    conv, x = unit.conv, torch.randn(3, 4, *size, requires_grad=True)

    def run(training):
        made = conv.train(training)(x)
        return made, *torch.autograd.grad((made * torch.arange(made.numel()).view(made.shape)).sum(), (x, conv.weight))

    for fast, plain in zip(run(True), run(False)):
        torch.testing.assert_close(fast, plain)
    assert (conv.rim > 0) == (kernel > 2 * max(size) - 1)
