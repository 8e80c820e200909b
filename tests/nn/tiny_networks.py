"""Networks small enough to run in milliseconds."""

from __future__ import annotations

import torch

from offramp.architecture import Architecture, Bottleneck, Branch, Conv, Separable, Stage
from offramp.nn import EarlyExitNet, build
from offramp.nn.blocks import batch_norms

SPACE = {
    "stem_strides": (1, 2),
    "stem_widths": (4, 8),
    "widths": ((4, 8), (8, 12), (12, 16)),
    "depths": ((1, 2), (1, 2), (1,)),
    "strides": (1, 2, 1),
    "kernels": (3, 5, 7),
    "expansions": (2, 3),
    "activations": ("relu", "relu6", "hardswish"),
    "branch_depths": (0, 1, 2),
    "branch_widths": (4, 8, 16),
    "max_exits": 3,
}


def three_exits() -> Architecture:
    """Four stages, the third without exit; every kind of block and pooling."""
    stages = (
        Stage(blocks=(Conv(out=6),), exit=Branch(blocks=(Separable(out=5, stride=2),), pool="max", grid=2)),
        Stage(blocks=(Bottleneck(out=8, hidden=12, stride=2, squeeze=4),), exit=Branch()),
        Stage(blocks=(Bottleneck(out=8, hidden=16, act="hardswish"),)),
        Stage(blocks=(Conv(out=10, act="relu6"),), exit=Branch(blocks=(Conv(out=7, kernel=1),))),
    )
    return Architecture(input=(2, 9, 7), classes=4, stages=stages)


def images(count: int, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Floats in 0..255, (count, *shape)."""
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed)) * 255


def lively(architecture: Architecture, seed: int = 0) -> EarlyExitNet:
    """A network whose norms do something and whose exits disagree, in eval mode."""
    net = build(architecture, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for norm in batch_norms(net):
            norm.running_mean += torch.randn(norm.num_features, generator=generator)
            norm.running_var *= torch.rand(norm.num_features, generator=generator) + 0.5
            norm.bias += torch.randn(norm.num_features, generator=generator)
    return net.eval()
