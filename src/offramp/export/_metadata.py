"""What the file says about itself: strings under keys that begin with `offramp.`, numbers and lists as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from offramp.policy import Policy

PREFIX = "offramp."


class About(NamedTuple):
    """The metadata of a `model.onnx`, understood."""

    policy: Policy
    classes: tuple[str, ...]
    input: tuple[int, int, int]  # channels, height, width

    def to_metadata(self) -> dict[str, str]:
        """As the file keeps it."""
        policy = self.policy.to_dict()
        return {
            f"{PREFIX}version": offramp_version(),
            f"{PREFIX}input": json.dumps(self.input),
            f"{PREFIX}classes": json.dumps(self.classes, ensure_ascii=False),
            f"{PREFIX}measure": policy["measure"],
            f"{PREFIX}thresholds": json.dumps(policy["thresholds"], allow_nan=False),
        }

    @classmethod
    def from_metadata(cls, stored: Mapping[str, str]) -> About:
        """What `to_metadata` wrote. ValueError (or KeyError) if it is not that."""
        names = ("measure", "thresholds", "classes", "input")
        measure, thresholds, classes, shape = (stored[PREFIX + name] for name in names)
        policy = Policy.from_dict({"measure": measure, "thresholds": json.loads(thresholds)})
        channels, height, width = (int(size) for size in json.loads(shape))
        return cls(policy, tuple(str(name) for name in json.loads(classes)), (channels, height, width))


def checked_extra(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """The caller's own entries; ValueError where they are not strings or take a key of ours."""
    extra = dict(metadata or {})
    for key, value in extra.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ValueError(f"metadata must be strings, not {key!r}: {value!r}")
        if key.startswith(PREFIX):
            raise ValueError(f"metadata key {key!r} begins with {PREFIX!r}, which is kept for Offramp's own; rename it")
    return extra


def checked_classes(classes: Sequence[str], count: int) -> tuple[str, ...]:
    """The class names; ValueError unless there is one string for each of `count` classes."""
    if isinstance(classes, str) or len(classes) != count or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"classes is {classes!r}; the network needs {count} names, one for each class")
    return tuple(classes)


def offramp_version() -> str:
    """The installed version; "0" where the package is not installed."""
    try:
        return version("offramp")
    except PackageNotFoundError:
        return "0"
