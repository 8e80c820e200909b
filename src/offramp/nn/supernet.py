"""The supernet: one set of shared weights, of which every architecture of a space is a slice."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from offramp.architecture import Activate, Architecture, Branch, Pool, Resize
from offramp.layers import layers
from offramp.nn.blocks import batch_norms, init_weights
from offramp.nn.network import EarlyExitNet
from offramp.nn.quantize import install_quick
from offramp.spaces import SearchSpace

_EXIT = re.compile(r"stages\.(\d+)\.exit\.(?:blocks\.(\d+)|hidden\.(\d+)|classifier)\.")
_BACKBONE = re.compile(r"stages\.(\d+)\.blocks\.(\d+)\.")
_WEIGHTLESS = (Pool, Resize, Activate)
_TEMPLATES = 64  # parameterless networks kept for reuse


Reads = Callable[[list[Tensor]], list[Tensor]]


class Supernet(nn.Module):
    """Shared weights for every architecture of `space`, backbone and exit branches alike.

    A network's parameter is the leading channels (and, of a kernel, the centre) of the shared tensor of the same
    name. Branch layers are shared per position (blocks without weights not counted) and operator, classifiers per
    pooling, and per map's size where there is none, apart for branches without layers. There are no shared batch-norm
    statistics: training uses those of the batch, `slice` leaves them to be re-estimated.
    """

    def __init__(self, space: SearchSpace, seed: int = 0) -> None:
        super().__init__()
        self.space = space
        self.weights = nn.ParameterDict()
        self.register_buffer("mean", torch.full((space.input[0], 1, 1), 127.5))
        self.register_buffer("std", torch.full((space.input[0], 1, 1), 64.0))
        self.mean: Tensor
        self.std: Tensor
        # Modules hold the views for the length of a call, so every thread has modules of its own.
        self._local = threading.local()
        generator = torch.Generator().manual_seed(seed)
        for architecture in space.cover():
            self._add(architecture, generator)
        if space.once_for_all:
            for key in list(self.weights):
                for step in self.transforms(key):
                    smaller = int(step[-1])
                    self.weights[self.transform_key(key, step)] = nn.Parameter(torch.eye(smaller**2))

    def forward(
        self, images: Tensor, architecture: Architecture, *variants: Architecture, reads: Reads = list
    ) -> Tensor:
        """Logits of the slice `architecture`, batch norm by the batch's statistics: (B, C, H, W) -> (B, E, K), or
        (B, E, K + 1) with gates. At few bits weights and activations are rounded, with steps that suit the batch.

        `variants` have the same backbone and exits but other branches (all with gates, or all without); theirs follow,
        (B, E * (1 + variants), K), at the cost of the branches alone.

        `reads`: what the exits read, of the maps at their places.
        """
        net = self._bound(architecture)
        maps = reads(net.features(images))
        return torch.cat([net.classify(maps), *(self._bound(v).classify(maps) for v in variants)], 1)

    def slice(self, architecture: Architecture) -> EarlyExitNet:
        """An independent network with a copy of the weights; its batch-norm statistics are unset."""
        net = EarlyExitNet(architecture).to(self.mean.device)
        for norm in batch_norms(net):
            norm.reset_running_stats()
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                parameter.copy_(self._view(shared_name(architecture, name), parameter.shape))
            net.mean.copy_(self.mean)
            net.std.copy_(self.std)
        return net

    def normalise(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Set the channels' means and standard deviations, in 0..255."""
        EarlyExitNet.normalise(self, mean, std)  # type: ignore[arg-type]

    def transforms(self, key: str) -> list[str]:
        """The steps, as "7to5", by which the depthwise kernel `key` is made smaller; none where it is cut out."""
        if not (self.space.once_for_all and key.endswith("/depthwise/conv/weight")):
            return []
        return [f"{size}to{size - 2}" for size in range(self.weights[key].shape[-1], 3, -2)]

    @staticmethod
    def transform_key(key: str, step: str) -> str:
        """Name of the matrix that takes the kernel `key` one step down."""
        return f"{key.removesuffix('weight')}{step}"

    def _add(self, architecture: Architecture, generator: torch.Generator) -> None:
        with torch.device("meta"):
            net = EarlyExitNet(architecture)
        found = {shared_name(architecture, name): p.shape for name, p in net.named_parameters()}
        if all(key in self.weights and _covers(self.weights[key].shape, shape) for key, shape in found.items()):
            return
        net = net.to_empty(device="cpu")
        init_weights(net, generator)
        for name, parameter in net.named_parameters():
            key = shared_name(architecture, name)
            if key in self.weights and not _covers(self.weights[key].shape, parameter.shape):
                raise ValueError(
                    f"space {self.space.name!r}: cover() gives two shapes for {key}; neither holds the other"
                )
            if key not in self.weights:
                self.weights[key] = nn.Parameter(parameter.detach().clone())

    def _bound(self, architecture: Architecture) -> EarlyExitNet:
        """This thread's module for `architecture`, its parameters replaced by views of the shared weights."""
        templates = self._local.__dict__.setdefault("templates", OrderedDict())
        if architecture not in templates:
            templates[architecture] = self._template(architecture)
            if len(templates) > _TEMPLATES:
                templates.popitem(last=False)
        net, sources = templates[architecture]
        templates.move_to_end(architecture)
        for parameters, name, key, shape in sources:
            parameters[name] = self._view(key, shape)
        net.mean, net.std = self.mean, self.std
        return net

    def _template(self, architecture: Architecture) -> tuple[EarlyExitNet, list]:
        with torch.device("meta"):
            net = EarlyExitNet(architecture)
            install_quick(net)
        for norm in batch_norms(net):
            norm.running_mean = norm.running_var = norm.num_batches_tracked = None
        sources = []
        for path, module in net.named_modules():
            for name, parameter in module.named_parameters(recurse=False):
                key = shared_name(architecture, f"{path}.{name}")
                sources.append((module._parameters, name, key, parameter.shape))
        return net, sources

    def _view(self, key: str, shape: torch.Size) -> Tensor:
        tensor = self.weights[key]
        if tensor.shape == shape:
            return tensor
        for step in self.transforms(key):
            if int(step[0]) > shape[-1]:
                tensor = transformed(tensor, self.weights[self.transform_key(key, step)])
        for dim, (whole, part) in enumerate(zip(tensor.shape, shape)):
            if whole != part:
                tensor = tensor.narrow(dim, (whole - part) // 2 if dim > 1 else 0, part)
        return tensor


def shared_name(architecture: Architecture, name: str) -> str:
    """Name of the shared tensor for parameter `name` (dots become `/`, which a ParameterDict requires)."""
    match = _EXIT.match(name)
    if match:
        branch = architecture.stages[int(match[1])].exit
        assert branch is not None
        kind = _kind(architecture, int(match[1]), branch, match[2], match[3])
        name = f"stages.{match[1]}.exit.{kind}.{name[match.end() :]}"
    elif match := _BACKBONE.match(name):
        position = _position(architecture.stages[int(match[1])].blocks, int(match[2]))
        name = f"stages.{match[1]}.blocks.{position}.{name[match.end() :]}"
    return name.replace(".", "/")


def _kind(architecture: Architecture, stage: int, branch: Branch, block: str | None, hidden: str | None) -> str:
    if block is None:
        shape = f"{'deep' if branch.blocks else 'direct'}.{branch.pool}{branch.grid}"
        if branch.pool == "none":
            # Maps of different size, flattened, are different features.
            flat = next(layer for layer in layers(architecture)[stage].branch if layer.op == "linear").shape_in
            shape += f".{flat.height}x{flat.width}"
        # A classifier behind hidden layers reads other features than one without.
        behind = f".behind{len(branch.hidden)}" if branch.hidden else ""
        return f"classifier.{shape}{behind}" if hidden is None else f"hidden.{hidden}.{shape}"
    chosen = branch.blocks[int(block)]
    # Kernels of unpadded convolutions are slices of one another, those of different operators are not.
    kernel = getattr(chosen, "kernel", 0) if getattr(chosen, "pad", True) else "valid"
    return f"blocks.{_position(branch.blocks, int(block))}.{chosen.kind}{kernel}"


def _position(blocks: Sequence[object], number: int) -> int:
    """How many blocks with weights stand before block `number`.

    What has no weights, as a pooling, may stand before some networks' layers and not before others'.
    """
    return sum(not isinstance(before, _WEIGHTLESS) for before in blocks[:number])


def transformed(kernels: Tensor, matrix: Tensor) -> Tensor:
    """Once-for-All's step from one kernel size to the next: the centre of (C, 1, k, k), times a matrix of all
    channels."""
    size = kernels.shape[-1] - 2
    centre = kernels[..., 1:-1, 1:-1].reshape(*kernels.shape[:2], size * size)
    return F.linear(centre, matrix).view(*kernels.shape[:2], size, size)


def _covers(whole: torch.Size, part: torch.Size) -> bool:
    return len(whole) == len(part) and all(a >= b for a, b in zip(whole, part))
