"""A bound that a network must keep, written as people write it: `mean_macs <= 2.44e6`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from offramp.search.metric import METRICS, check_metric

_SYNTAX = re.compile(r"\s*(\w+)\s*(<=|>=)\s*(\S+)\s*")

_ZERO = 1e-12


@dataclass(frozen=True)
class Constraint:
    """`metric` <= `bound`, or >= where `at_least`."""

    metric: str
    bound: float
    at_least: bool = False

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Read `"METRIC <= NUMBER"` or `"METRIC >= NUMBER"`.

        Raises:
            ValueError: another form, an unknown metric, or a bound that is no finite number.
        """
        match = _SYNTAX.fullmatch(text)
        if match is None:
            raise ValueError(f"constraint {text!r} is not of the form 'METRIC <= NUMBER' or 'METRIC >= NUMBER'")
        metric, operator, number = match.groups()
        check_metric(metric, f"constraint {text!r}")
        return cls(metric, _finite(number, text), operator == ">=")

    def violation(self, metrics: Mapping[str, float]) -> float:
        """How far `metrics` are beyond the bound, in units of the bound's magnitude; the constraint holds when <= 0.

        Raises:
            ValueError: the metric was not measured.
        """
        if self.metric not in metrics:
            raise ValueError(f"constraint {self} needs {self.metric}; measured are {', '.join(metrics) or 'none'}")
        excess = metrics[self.metric] - self.bound
        # Relative, so that violations of bytes and of shares can be added up.
        return (-excess if self.at_least else excess) / (abs(self.bound) if abs(self.bound) > _ZERO else 1.0)

    @property
    def caps(self) -> bool:
        """Whether it bounds from above what should be small anyway: a cost, or the error."""
        return not self.at_least and not METRICS[self.metric].maximise

    def __str__(self) -> str:
        short = f"{self.bound:g}"
        bound = short if float(short) == self.bound else repr(self.bound)
        return f"{self.metric} {'>=' if self.at_least else '<='} {bound}"


def _finite(number: str, text: str) -> float:
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise ValueError(f"constraint {text!r} has the bound {number!r}; it needs a finite number")
    return bound
