"""What came of evaluating a candidate."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Evaluation:
    """Measured `metrics` (names of `METRICS`, or further ones), and `extra` to keep: policy, utilisation, seconds, ...

    Raises:
        ValueError: a metric is not finite.
        TypeError: `extra` is not JSON.
    """

    metrics: Mapping[str, float]
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bad = {name: value for name, value in self.metrics.items() if not math.isfinite(value)}
        if bad:
            raise ValueError(f"evaluation has metrics that are not finite: {bad}")
        json.dumps(dict(self.extra))


@dataclass(frozen=True)
class Failure:
    """An evaluation that raised; `message` is the kind of error and what it said."""

    message: str

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """The failure that `error` makes; very long messages are cut."""
        return cls(f"{type(error).__name__}: {error}"[:2000])
