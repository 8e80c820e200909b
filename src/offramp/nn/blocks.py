"""Modules for the blocks of an architecture, each made from the layer records that the cost models count.

An `nn.Identity` among them marks where `offramp.nn.quantize` rounds what no convolution or linear layer gives.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from offramp.architecture import Activate, Bottleneck, Branch, Pool, Resize
from offramp.layers import Layer, Shape, block_layers, branch_layers

_ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "hardswish": nn.Hardswish, "hardsigmoid": nn.Hardsigmoid}


class _Conv2d(nn.Conv2d):
    def reset_parameters(self) -> None:
        """Left to `init_weights`: a supernet builds thousands of networks whose weights are given from outside."""


class _TrimmedConv2d(_Conv2d):
    """A layer's convolution; in training without the rim of a kernel that reads nothing but padding.

    Of a 7x7 kernel on a 2x2 map only the central 3x3 ever meets the map, but CPU kernels multiply all of it by zeros:
    of a training step of Once-for-All's largest network on 32x32 images that was nearly half. In evaluation the whole
    kernel is used, so that what is exported and counted is the layer as it stands.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__(
            layer.shape_in.channels, layer.shape_out.channels, layer.kernel, layer.stride,
            padding=layer.pad, groups=layer.groups, bias=layer.bias,
        )  # fmt: skip
        read = 2 * max(layer.shape_in[1:]) - 1
        self.rim = max(0, layer.kernel - read) // 2 if layer.pad == layer.kernel // 2 else 0

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        if not (self.rim and self.training):
            return super().forward(x)
        inner = self.weight[..., self.rim : -self.rim, self.rim : -self.rim]
        if inner.shape[1:] == (1, 1, 1) and self.bias is None:  # a 1x1 map, channel by channel
            return x * inner.view(1, -1, 1, 1)
        padding = self.kernel_size[0] // 2 - self.rim
        return F.conv2d(x, inner, self.bias, self.stride, padding, groups=self.groups)


class _BatchNorm2d(nn.BatchNorm2d):
    def reset_parameters(self) -> None:
        """Left to `init_weights`."""


class _Linear(nn.Linear):
    def reset_parameters(self) -> None:
        """Left to `init_weights`."""


class Unit(nn.Module):
    """Convolution, and batch norm and activation where the layer has them."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.conv: nn.Conv2d = _TrimmedConv2d(layer)
        self.norm = _BatchNorm2d(layer.shape_out.channels) if layer.norm else None
        self.act = _ACTIVATIONS[layer.act](inplace=True) if layer.act else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.act is None else self.act(x)


class SqueezeExcite(nn.Module):
    """Scales every channel by a factor computed from the channels' means."""

    def __init__(self, reduce: Layer, expand: Layer) -> None:
        super().__init__()
        self.reduce, self.expand = Unit(reduce), Unit(expand)
        self.pooled: nn.Module = nn.Identity()
        self.scaled: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return self.scaled(x * self.expand(self.reduce(self.pooled(x.mean((2, 3), keepdim=True)))))


class BottleneckBlock(nn.Module):
    """See `offramp.architecture.Bottleneck`."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        by_name = {layer.name: layer for layer in layers}
        self.expand = Unit(by_name["expand"]) if "expand" in by_name else None
        self.depthwise = Unit(by_name["depthwise"])
        squeeze = "squeeze.reduce" in by_name
        self.squeeze = SqueezeExcite(by_name["squeeze.reduce"], by_name["squeeze.expand"]) if squeeze else None
        self.project = Unit(by_name["project"])
        self.residual = "add" in by_name
        self.added: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        y = self.depthwise(x if self.expand is None else self.expand(x))
        y = self.project(y if self.squeeze is None else self.squeeze(y))
        return self.added(x + y) if self.residual else y


class Dense(nn.Module):
    """Linear layer and activation."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.linear: nn.Linear = _Linear(layer.shape_in.elements, layer.shape_out.channels, bias=layer.bias)
        self.act = _ACTIVATIONS[layer.act]() if layer.act else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, F) -> (B, F')."""
        x = self.linear(x)
        return x if self.act is None else self.act(x)


class MaxOrMean(nn.Module):
    """See `offramp.architecture.Pool`."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.kernel, self.how = layer.kernel, layer.pool
        self.pooled: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H // kernel, W // kernel)."""
        return self.pooled(F.max_pool2d(x, self.kernel) if self.how == "max" else F.avg_pool2d(x, self.kernel))


class Bicubic(nn.Module):
    """See `offramp.architecture.Resize`."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.size = list(layer.shape_out[1:])
        self.changes = layer.shape_in != layer.shape_out
        self.resized: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, size, size)."""
        if not self.changes:
            return x
        return self.resized(F.interpolate(x, self.size, mode="bicubic", align_corners=False))


class Head(nn.Module):
    """An exit branch: blocks, pooling to a small grid, hidden layers, linear classifier."""

    def __init__(self, branch: Branch, shape: Shape, classes: int) -> None:
        super().__init__()
        by_name = {layer.name: layer for layer in branch_layers(branch, shape, classes)}
        self.blocks, shape = block_modules(branch.blocks, shape)
        self.pool, self.grid, self.gate = branch.pool, shape[1:], branch.gate
        if "pool" in by_name:
            self.grid = by_name["pool"].shape_out[1:]
        self.window = [size - (grid - 1) * (size // grid) for size, grid in zip(shape[1:], self.grid)]
        self.step = [size // grid for size, grid in zip(shape[1:], self.grid)]
        self.entry: nn.Module = nn.Identity()
        self.pooled: nn.Module = nn.Identity()
        self.hidden = nn.ModuleList(Dense(by_name[f"hidden.{i}"]) for i in range(len(branch.hidden)))
        classifier = by_name["classifier"]
        self.classifier: nn.Linear = _Linear(classifier.shape_in.elements, classifier.shape_out.channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, K), or (B, K + 1) with a gate, its logit last."""
        x = self.entry(x)
        for block in self.blocks:
            x = block(x)
        if self.pool == "none":
            x = x.flatten(1)
        elif self.grid == (1, 1):
            x = x.mean((2, 3)) if self.pool == "avg" else x.amax((2, 3))
        else:
            pool = F.avg_pool2d if self.pool == "avg" else F.max_pool2d
            x = pool(x, self.window, self.step).flatten(1)
        x = self.pooled(x)
        for layer in self.hidden:
            x = layer(x)
        return self.classifier(x)


def block_modules(blocks: Sequence[object], shape: Shape) -> tuple[nn.ModuleList, Shape]:
    """One module per block, and the shape of the last one's output."""
    modules = nn.ModuleList()
    for block in blocks:
        layers = block_layers(block, shape)
        if isinstance(block, Bottleneck):
            modules.append(BottleneckBlock(layers))
        elif isinstance(block, Pool):
            modules.append(MaxOrMean(layers[0]))
        elif isinstance(block, Resize):
            modules.append(Bicubic(layers[0]))
        elif isinstance(block, Activate):
            modules.append(_ACTIVATIONS[block.act]())
        else:
            modules.append(nn.Sequential())
            for layer in layers:
                modules[-1].add_module(layer.name, Unit(layer))
        shape = layers[-1].shape_out
    return modules, shape


def batch_norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    """Every batch norm inside `module`."""
    return [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]


def init_weights(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """He initialisation of convolutions (fan-out), unit-variance logits of classifiers, neutral batch norms."""
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.BatchNorm2d.reset_parameters(m)
        if isinstance(m, nn.Conv2d):
            fan_out = m.kernel_size[0] * m.kernel_size[1] * m.out_channels / m.groups
            nn.init.normal_(m.weight, 0.0, (2.0 / fan_out) ** 0.5, generator=generator)
        elif isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, 0.0, m.in_features**-0.5, generator=generator)
        if isinstance(m, (nn.Conv2d, nn.Linear)) and m.bias is not None:
            nn.init.zeros_(m.bias)
