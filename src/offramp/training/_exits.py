"""What all exits say while the backbone learns from them, more or less."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from offramp.nn import EarlyExitNet


def all_exits(net: EarlyExitNet, images: Tensor, share: float) -> Tensor:
    """`net(images)`, whose early branches hand back `share` of their gradient: (B, C, H, W) -> (B, E, K[+ 1]).

    At 1 the backbone serves all exits alike, at 0 the final one alone, and the branches make do with what it offers.
    """
    return net.classify(damped(net.features(images), share))


def damped(maps: Sequence[Tensor], share: float) -> list[Tensor]:
    """What the exits read, all but the last handing back `share` of their gradient."""
    return [*(_damped(x, share) for x in maps[:-1]), maps[-1]]


def independent(net: EarlyExitNet, share: float) -> list[list[nn.Parameter]] | None:
    """The parameters of `net` in parts that learn independently of each other; None where all learn together.

    Where no early exit's gradient reaches the backbone: the backbone with its final exit, and each early branch.
    Clipped together, large gradients of the branches would still slow the backbone down.
    """
    if share:
        return None
    early = [list(stage.exit.parameters()) for stage in net.ordered[:-1] if stage.exit is not None]
    apart = {id(parameter) for branch in early for parameter in branch}
    return [[p for p in net.parameters() if id(p) not in apart], *early]


def _damped(x: Tensor, share: float) -> Tensor:
    """`x`, through which `share` of the gradient flows back."""
    if share == 1 or not x.requires_grad:
        return x
    if share == 0:
        return x.detach()
    same = x.view_as(x)
    same.register_hook(lambda gradient: gradient * share)
    return same
