"""Architectures to count, and an account of live memory that knows nothing of `offramp.layers`."""

from __future__ import annotations

import pytest
import torch

from offramp.architecture import Architecture, Bottleneck, Branch, Conv, Precision, Separable, Stage
from offramp.nn import EarlyExitNet
from offramp.spaces import SPACES, space

INPUTS = [(3, 32, 32), (1, 8, 8), (3, 48, 40), (3, 224, 224)]


def by_hand() -> Architecture:
    """What no space makes: every block in a branch, residuals there, odd maps, stages without exits, mixed bits."""
    residual = Bottleneck(out=6, hidden=11, squeeze=5, act="relu6")
    stages = (
        Stage(
            blocks=(Conv(out=6, kernel=5, stride=2), residual),
            exit=Branch(
                blocks=(residual, Separable(out=9, kernel=5, stride=3), residual.model_copy(update={"out": 9}))
            ),
        ),
        Stage(blocks=(Separable(out=10, kernel=7, stride=2),)),
        Stage(
            blocks=(Bottleneck(out=12, hidden=20, stride=3, kernel=5), Bottleneck(out=12, hidden=30)),
            exit=Branch(blocks=(Bottleneck(out=12, hidden=40, squeeze=8), Conv(out=7, kernel=1)), pool="max"),
        ),
        Stage(blocks=(Conv(out=5),), exit=Branch(grid=2, pool="max")),
    )
    bits = Precision(backbone_weights=4, backbone_activations=8, branch_weights=16, branch_activations=2)
    return Architecture(input=(2, 37, 29), classes=13, stages=stages, precision=bits)


def samples() -> list:
    """Parameters for a test: random architectures of every space at every size, the extremes, and one made by hand."""
    found = [("by-hand", by_hand())]
    for name in SPACES:
        for shape in INPUTS:
            of = space(name, shape, classes=7)
            some = [of.sample(seed) for seed in range(2 if shape[1] == 224 else 6)] + [of.smallest(), of.largest()]
            found += [(f"{name}-{shape[1]}-{i}", architecture) for i, architecture in enumerate(some)]
    return [pytest.param(architecture, id=label) for label, architecture in found]


def meta_net(architecture: Architecture) -> EarlyExitNet:
    """The network without memory or arithmetic: shapes only."""
    with torch.device("meta"):
        return EarlyExitNet(architecture).eval()


class Account:
    """Values as (elements, number); operations in order, each with what it reads and what it makes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.operations: list[tuple[str, tuple[int, ...], int]] = []

    def value(self, *shape: int) -> int:
        self.sizes.append(int(torch.Size(shape).numel()))
        return len(self.sizes) - 1

    def run(self, part: str, reads: tuple[int, ...], *shape: int) -> int:
        made = self.value(*shape)
        self.operations.append((part, reads, made))
        return made

    def peaks(self) -> dict[str, int]:
        """Most elements alive at once in each part: a value lives from where it is made until it is last read."""
        last = {value: i for i, (_, reads, _) in enumerate(self.operations) for value in reads}
        born = {made: i for i, (_, _, made) in enumerate(self.operations)}
        found: dict[str, int] = {}
        for now, (part, _, made) in enumerate(self.operations):
            alive = [v for v in range(len(self.sizes)) if born.get(v, -1) <= now <= last.get(v, born.get(v, -1))]
            assert made in alive
            found[part] = max(found.get(part, 0), sum(self.sizes[v] for v in alive))
        return found


def live_memory(architecture: Architecture) -> dict[str, int]:
    """Peak of live elements per part (`stage 0`, `exit 0`, ...), block by block from their definitions."""
    account = Account()
    channels, *size = architecture.input
    x = account.value(channels, *size)
    for i, stage in enumerate(architecture.stages):
        for block in stage.blocks:
            x, channels, size = _block(account, f"stage {i}", block, x, channels, size)
        if stage.exit is not None:
            y, wide, small = x, channels, size
            for block in stage.exit.blocks:
                y, wide, small = _block(account, f"exit {i}", block, y, wide, small)
            pooled = account.run(f"exit {i}", (y,), wide, *(min(stage.exit.grid, s) for s in small))
            account.run(f"exit {i}", (pooled,), architecture.classes)
    return account.peaks()


def _block(account: Account, part: str, block: object, x: int, channels: int, size: list[int]):
    assert isinstance(block, Conv | Separable | Bottleneck)
    smaller = [(s + block.stride - 1) // block.stride for s in size]
    if isinstance(block, Conv):
        return account.run(part, (x,), block.out, *smaller), block.out, smaller
    if isinstance(block, Separable):
        y = account.run(part, (x,), channels, *smaller)
        return account.run(part, (y,), block.out, *smaller), block.out, smaller
    y = account.run(part, (x,), block.hidden, *size)
    y = account.run(part, (y,), block.hidden, *smaller)
    if block.squeeze:
        vector = account.run(part, (y,), block.hidden)
        vector = account.run(part, (vector,), block.squeeze)
        vector = account.run(part, (vector,), block.hidden)
        y = account.run(part, (y, vector), block.hidden, *smaller)
    y = account.run(part, (y,), block.out, *smaller)
    if block.stride == 1 and block.out == channels:
        y = account.run(part, (x, y), block.out, *smaller)
    return y, block.out, smaller
