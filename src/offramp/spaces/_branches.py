"""Exit branches of the default space: up to three layers, a pooling, a linear classifier; a choice at every place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from offramp.architecture import Activation, Branch, Conv, Separable
from offramp.layers import Shape, branch_layers
from offramp.spaces._bits import SpaceOptions
from offramp.spaces._check import Ascending, Distinct
from offramp.spaces.base import Gene

SMALLEST_MAP = 4
"""No strided convolution halves a map below this."""

BranchOperator = Literal["pointwise", "separable", "conv"]
Pooling = Literal["avg1", "max1", "avg2"]


class BranchOptions(SpaceOptions):
    """What a branch may be; lists are ascending, or in any order where they hold words, and without repetition."""

    branch_depths: Ascending[Annotated[int, Field(ge=0, le=3)]] = Field(
        (0, 1, 2, 3), description="layers of a branch, 0 to 3"
    )
    branch_operators: Distinct[BranchOperator] = Field(("pointwise", "separable", "conv"), description="of its layers")
    branch_widths: Ascending[PositiveInt] = Field((16, 32, 64, 128), description="their channels")
    poolings: Distinct[Pooling] = Field(
        ("avg1", "max1", "avg2"), description="before a branch's classifier, and the size pooled to"
    )
    max_exits: PositiveInt = Field(default=5, description="exits of a candidate at most, the final one counted")


def branch_genes(o: BranchOptions, i: int) -> list[Gene]:
    """Of the branch behind stage `i`."""
    genes = [Gene(f"{i}.exit.depth", o.branch_depths), Gene(f"{i}.exit.width", o.branch_widths)]
    genes.append(Gene(f"{i}.exit.pool", o.poolings))
    return genes + [Gene(f"{i}.exit.{j}.operator", o.branch_operators) for j in range(max(o.branch_depths))]


def branch_of(
    o: BranchOptions, values: Mapping[str, Any], i: int, map_size: tuple[int, int], act: Activation
) -> Branch:
    """The branch behind stage `i`, whose map has this height and width, with these gene values."""
    blocks: list[Any] = []
    size = min(map_size)
    for j in range(values[f"{i}.exit.depth"]):
        operator, out = values[f"{i}.exit.{j}.operator"], values[f"{i}.exit.width"]
        # Branches shrink large maps quickly: what an exit needs is a summary, and a cheap one.
        stride = 2 if operator != "pointwise" and size // 2 >= SMALLEST_MAP else 1
        size = -(-size // stride)
        kind = Separable if operator == "separable" else Conv
        blocks.append(kind(out=out, kernel=1 if operator == "pointwise" else 3, stride=stride, act=act))
    # No branch makes a map a single value that was not: where one is, all poolings are the same.
    pool = o.poolings[0] if _single(map_size) else values[f"{i}.exit.pool"]
    return Branch(blocks=tuple(blocks), pool=pool[:3], grid=int(pool[3]))


def read_branch(branch: Branch, i: int) -> dict[str, Any]:
    """Gene values of a branch behind stage `i`; what does not fit is found when it is built again and compared."""
    values: dict[str, Any] = {f"{i}.exit.depth": len(branch.blocks), f"{i}.exit.pool": f"{branch.pool}{branch.grid}"}
    for j, block in enumerate(branch.blocks):
        if not isinstance(block, Conv | Separable):
            continue
        operator = "separable" if isinstance(block, Separable) else "conv" if block.kernel > 1 else "pointwise"
        values |= {f"{i}.exit.width": block.out, f"{i}.exit.{j}.operator": operator}
    return values


def _single(map_size: tuple[int, int]) -> bool:
    """Whether there is one value of each channel, so that there is nothing to pool."""
    return map_size == (1, 1)


def branch_count(o: BranchOptions, map_size: tuple[int, int]) -> int:
    """How many branches a place with maps of this height and width may have."""
    layered = sum(len(o.branch_operators) ** depth for depth in o.branch_depths if depth)
    return (1 if _single(map_size) else len(o.poolings)) * ((0 in o.branch_depths) + len(o.branch_widths) * layered)


def exit_ways(branches: Iterable[int], most: int) -> int:
    """How many ways there are to have at most `most` early exits, at places that may have so many `branches` each."""
    ways = [1]  # ways[n]: choices of n exits among the places so far
    for kinds in branches:
        ways = [a + b * kinds for a, b in zip([*ways, 0], [0, *ways])]
    return sum(ways[: most + 1])


def extreme_branch(
    o: BranchOptions,
    values: Mapping[str, Any],
    i: int,
    shape: Shape,
    act: Activation,
    classes: int,
    pick: Callable[..., Any],
) -> dict[str, Any]:
    """`values` with depth, operators and pooling of branch `i`, on a map of `shape`, as `pick` has it of their MACs.

    A strided convolution spares the layers behind it more than it costs, so that no order of the choices will do.
    """
    return pick([{**values, **kind} for kind in _kinds(o, i)], key=partial(_branch_macs, o, i, shape, act, classes))


def cover_kinds(o: BranchOptions, i: int) -> Iterator[dict[str, Any]]:
    """Gene values of branches at place `i` whose weights hold those of all, but for `i.exit.width`."""
    for depth in o.branch_depths:
        for operator in o.branch_operators if depth else o.branch_operators[:1]:
            for pool in o.poolings:
                kind: dict[str, Any] = {f"{i}.exit.depth": depth, f"{i}.exit.pool": pool}
                yield kind | {f"{i}.exit.{j}.operator": operator for j in range(depth)}


def _branch_macs(
    o: BranchOptions, i: int, shape: Shape, act: Activation, classes: int, values: Mapping[str, Any]
) -> int:
    branch = branch_of(o, values, i, shape[1:], act)
    return sum(layer.macs for layer in branch_layers(branch, shape, classes))


def _kinds(o: BranchOptions, i: int) -> Iterator[dict[str, Any]]:
    for depth in o.branch_depths:
        for pool, *operators in product(o.poolings, *[o.branch_operators] * depth):
            chosen = {f"{i}.exit.{j}.operator": operator for j, operator in enumerate(operators)}
            yield {f"{i}.exit.depth": depth, f"{i}.exit.pool": pool} | chosen
