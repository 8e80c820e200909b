"""A backbone for the space `fixed`, which has no default for it."""

from typing import Any

from offramp.architecture import Architecture, Bottleneck, Branch, Conv, Dense, Separable, Stage

BACKBONE = Architecture(
    input=(3, 32, 32),
    classes=7,
    stages=(
        Stage(blocks=(Conv(out=8, stride=2), Separable(out=10)), exit=Branch(grid=2)),  # this exit is not kept
        Stage(blocks=(Bottleneck(out=12, hidden=24, stride=2, act="hardswish"),)),
        Stage(blocks=(Bottleneck(out=12, hidden=24, squeeze=8), Bottleneck(out=16, hidden=30, kernel=5))),
        Stage(blocks=(Separable(out=18, act="relu6"),)),
        Stage(blocks=(Conv(out=20, kernel=1, act=None),), exit=Branch(pool="max", hidden=(Dense(out=16),))),
    ),
)

NEEDED: dict[str, dict[str, Any]] = {"fixed": {"backbone": BACKBONE.to_json()}}
"""By a space's name, the options that must be given."""


def needed(name: str) -> dict[str, Any]:
    """The options that must be given to space `name`."""
    return NEEDED.get(name, {})
