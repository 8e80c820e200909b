"""What all exits say while the backbone learns from them, more or less."""

from __future__ import annotations

from torch import Tensor

from offramp.nn import EarlyExitNet


def all_exits(net: EarlyExitNet, images: Tensor, share: float) -> Tensor:
    """`net(images)`, whose early branches hand back `share` of their gradient: (B, C, H, W) -> (B, E, K[+ 1]).

    At 1 the backbone serves all exits alike, at 0 the final one alone, and the branches make do with what it offers.
    """
    maps = net.features(images)
    return net.classify([*(_damped(x, share) for x in maps[:-1]), maps[-1]])


def _damped(x: Tensor, share: float) -> Tensor:
    """`x`, through which `share` of the gradient flows back."""
    if share == 1 or not x.requires_grad:
        return x
    if share == 0:
        return x.detach()
    same = x.view_as(x)
    same.register_hook(lambda gradient: gradient * share)
    return same
