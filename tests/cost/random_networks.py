"""Architectures to count, and an account of live memory that knows nothing of `offramp.layers`."""

from __future__ import annotations

import pytest
import torch

from offramp.architecture import (
    Activate,
    Architecture,
    Bottleneck,
    Branch,
    Conv,
    Dense,
    Pool,
    Precision,
    Resize,
    Separable,
    Stage,
)
from offramp.nn import EarlyExitNet
from offramp.spaces import SPACES, space
from own_backbone import needed

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


def by_the_papers() -> Architecture:
    """The pieces of NACHOS', AEBNAS's and Zniber's exits in one network, on maps that do not divide evenly."""
    plain = {"norm": False, "act": None}
    stages = (
        Stage(
            blocks=(Resize(size=30), Conv(out=6, stride=2, act="hardswish"), Bottleneck(out=6, hidden=0)),
            exit=Branch(
                blocks=(Pool(kernel=4), Activate(), Conv(out=8, **plain), Activate(act="relu6"), Conv(out=9, **plain)),
                pool="none",
                gate=True,
            ),
        ),
        Stage(
            blocks=(Bottleneck(out=8, hidden=0, stride=2, squeeze=4, act="relu6"),),
            exit=Branch(
                blocks=(
                    Resize(size=10),
                    Conv(out=16, kernel=5, stride=2, pad=False),
                    Pool(how="avg"),
                    Resize(size=8),
                    Conv(out=16, stride=2, pad=False),
                )
            ),
        ),
        Stage(
            blocks=(Conv(out=12, kernel=1),),
            exit=Branch(pool="max", grid=4, hidden=(Dense(out=20, act="relu6"), Dense(out=9, act=None, bias=False))),
        ),
    )
    return Architecture(input=(2, 37, 29), classes=13, stages=stages)


def samples() -> list:
    """Parameters for a test: random architectures of every space at every size, the extremes, and one made by hand."""
    found = [("by-hand", by_hand()), ("by-the-papers", by_the_papers())]
    for name in SPACES:
        for shape in INPUTS:
            of = space(name, shape, classes=7, **needed(name))
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
            if stage.exit.pool != "none":
                y = account.run(f"exit {i}", (y,), wide, *(min(stage.exit.grid, s) for s in small))
            for dense in stage.exit.hidden:
                y = account.run(f"exit {i}", (y,), dense.out)
            account.run(f"exit {i}", (y,), architecture.classes + stage.exit.gate)
    return account.peaks()


def _block(account: Account, part: str, block: object, x: int, channels: int, size: list[int]):
    if isinstance(block, Activate):
        return account.run(part, (x,), channels, *size), channels, size
    if isinstance(block, Resize):
        return account.run(part, (x,), channels, block.size, block.size), channels, [block.size] * 2
    if isinstance(block, Pool):
        smaller = [s // block.kernel for s in size]
        return account.run(part, (x,), channels, *smaller), channels, smaller
    assert isinstance(block, Conv | Separable | Bottleneck)
    smaller = [(s + block.stride - 1) // block.stride for s in size]
    if isinstance(block, Conv) and not block.pad:
        smaller = [len(range(0, s - block.kernel + 1, block.stride)) for s in size]
    if isinstance(block, Conv):
        return account.run(part, (x,), block.out, *smaller), block.out, smaller
    if isinstance(block, Separable):
        y = account.run(part, (x,), channels, *smaller)
        return account.run(part, (y,), block.out, *smaller), block.out, smaller
    hidden = block.hidden or channels
    y = account.run(part, (x,), hidden, *size) if block.hidden else x
    y = account.run(part, (y,), hidden, *smaller)
    if block.squeeze:
        vector = account.run(part, (y,), hidden)
        vector = account.run(part, (vector,), block.squeeze)
        vector = account.run(part, (vector,), hidden)
        y = account.run(part, (y, vector), hidden, *smaller)
    y = account.run(part, (y,), block.out, *smaller)
    if block.stride == 1 and block.out == channels:
        y = account.run(part, (x, y), block.out, *smaller)
    return y, block.out, smaller
