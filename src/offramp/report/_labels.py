"""Blocks, branches and feature maps in a few characters; the key is `KEY`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch
from itertools import groupby

from offramp.architecture import Activate, Bottleneck, Branch, Conv, Pool, Resize, Separable
from offramp.layers import Shape

KEY = (
    ("conv 3×3 →16", "convolution, 16 output channels"),
    ("sep 3×3 →16", "depthwise, then pointwise convolution"),
    ("IB 5×5 48→16", "inverted bottleneck: 48 hidden, 16 output channels"),
    ("SE", "squeeze-excite"),
    ("↓2", "stride 2"),
    ("2×", "twice in a row"),
)


def shape_label(shape: Shape) -> str:
    """Channels × height × width."""
    return "×".join(map(str, shape))


def block_labels(blocks: Iterable[object]) -> list[str]:
    """One label per block; equal neighbours share one."""
    runs = ((label, sum(1 for _ in run)) for label, run in groupby(map(block_label, blocks)))
    return [f"{times}× {label}" if times > 1 else label for label, times in runs]


def branch_labels(branch: Branch, classes: int) -> list[str]:
    """The layers of an exit branch, the classifier last."""
    pooled = [] if branch.pool == "none" else [f"{branch.pool} pool {branch.grid}×{branch.grid}"]
    hidden = [f"linear →{dense.out}" for dense in branch.hidden]
    return [*block_labels(branch.blocks), *pooled, *hidden, f"linear →{classes}{' + gate' if branch.gate else ''}"]


@singledispatch
def block_label(block: object) -> str:
    """A block in at most about 24 characters."""
    return type(block).__name__.lower()


@block_label.register
def _(block: Conv) -> str:
    return f"conv {_kernel(block.kernel)} →{block.out}{_stride(block.stride)}"


@block_label.register
def _(block: Separable) -> str:
    return f"sep {_kernel(block.kernel)} →{block.out}{_stride(block.stride)}"


@block_label.register
def _(block: Bottleneck) -> str:
    squeeze = " SE" if block.squeeze else ""
    return f"IB {_kernel(block.kernel)} {block.hidden}→{block.out}{_stride(block.stride)}{squeeze}"


@block_label.register
def _(block: Pool) -> str:
    return f"{block.how} pool {_kernel(block.kernel)}"


@block_label.register
def _(block: Resize) -> str:
    return f"resize {_kernel(block.size)}"


@block_label.register
def _(block: Activate) -> str:
    return block.act


def _kernel(size: int) -> str:
    return f"{size}×{size}"


def _stride(stride: int) -> str:
    return f" ↓{stride}" if stride > 1 else ""
