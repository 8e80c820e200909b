"""When a sample leaves, and what comes of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offramp.policy.confidence import find
from offramp.policy.table import ScoreTable


@dataclass(frozen=True)
class Policy:
    """A sample leaves at the first exit whose score is at least its threshold, at the last exit always.

    Attributes:
        measure: one of `MEASURES` or `GATE_MEASURES`.
        thresholds: E - 1 of them, in the measure's unit; +inf: nobody leaves there. With one exit: ().

    Raises:
        ValueError: the measure is unknown or a threshold is NaN.
    """

    measure: str
    thresholds: tuple[float, ...]

    def __post_init__(self) -> None:
        find(self.measure)
        thresholds = tuple(float(t) for t in self.thresholds)
        if any(isnan(t) for t in thresholds):
            raise ValueError(f"thresholds must be numbers, not {thresholds}")
        object.__setattr__(self, "thresholds", thresholds)

    @property
    def exits(self) -> int:
        """E, the number of exits this policy is for."""
        return len(self.thresholds) + 1

    def decide(self, table: ScoreTable) -> NDArray[np.int64]:
        """(N,), the exit in 0..E-1 at which each sample leaves. ValueError if the table has not E exits."""
        if table.exits != self.exits:
            raise ValueError(
                f"{len(self.thresholds)} thresholds are for {self.exits} exits, but the table has {table.exits} exits, "
                f"which need {table.exits - 1} thresholds"
            )
        leaves = table.scores(self.measure)[:, :-1].astype(np.float64) >= np.array(self.thresholds)
        return np.column_stack([leaves, np.ones(table.samples, dtype=bool)]).argmax(axis=1)

    def to_dict(self) -> dict[str, Any]:
        """The policy as strict JSON has it: an infinite threshold is the string "inf" (or "-inf")."""
        return {"measure": self.measure, "thresholds": [t if abs(t) < inf else str(t) for t in self.thresholds]}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Policy":
        """The policy that `to_dict` gave; other keys are passed over. ValueError if it is not one."""
        try:
            return cls(str(stored["measure"]), tuple(_threshold(t) for t in stored["thresholds"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f'a policy looks like {{"measure": ..., "thresholds": [...]}}, not {stored!r}') from error

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Policy":
        """The policy that `to_json` wrote. ValueError if the text is not one."""
        return cls.from_dict(json.loads(text))


@dataclass(frozen=True)
class Operation:
    """What a policy comes to on a table.

    Attributes:
        accuracy: share of samples whose exit was right, in 0..1.
        mean_cost: mean over the samples, in the unit of the costs.
        utilisation: E shares of samples, by the exit at which they left; they sum to 1.
        exit_accuracy: E accuracies, each of the samples that left there; None where none left.
    """

    accuracy: float
    mean_cost: float
    utilisation: tuple[float, ...]
    exit_accuracy: tuple[float | None, ...]


@dataclass(frozen=True)
class Setting:
    """Thresholds as they were set on a table.

    Attributes:
        policy: the one chosen, or reached.
        operation: what it comes to on that table.
        feasible: whether what was asked of it holds there.
    """

    policy: Policy
    operation: Operation
    feasible: bool


def operate(policy: Policy, table: ScoreTable, costs: Sequence[float] | np.ndarray) -> Operation:
    """Apply a policy to a table.

    Args:
        policy: for as many exits as the table has.
        table: N samples, E exits.
        costs: (E,), the whole cost of a sample that leaves at exit e; any unit, in any order.

    Raises:
        ValueError: the numbers of exits of policy, table and costs differ, or a cost is not finite.
    """
    costs = checked_costs(costs, table)
    exits = policy.decide(table)
    right = table.correct[np.arange(table.samples), exits]
    left = np.bincount(exits, minlength=table.exits)
    left_right = np.bincount(exits[right], minlength=table.exits)
    return Operation(
        accuracy=int(right.sum()) / table.samples,
        mean_cost=float(sum(n * c for n, c in zip(left, costs))) / table.samples,
        utilisation=tuple(int(n) / table.samples for n in left),
        exit_accuracy=tuple(int(r) / int(n) if n else None for r, n in zip(left_right, left)),
    )


def checked_costs(costs: Sequence[float] | np.ndarray, table: ScoreTable) -> NDArray[np.float64]:
    """`costs` as float64; ValueError unless they are one finite number for each exit of the table."""
    checked = np.asarray(costs, dtype=np.float64)
    if checked.shape != (table.exits,):
        raise ValueError(f"costs must be {table.exits} numbers, one for each exit, not of shape {checked.shape}")
    if not np.isfinite(checked).all():
        raise ValueError(f"costs must be finite, not {checked.tolist()}")
    return checked


def _threshold(stored: float | str) -> float:
    if isinstance(stored, bool) or (isinstance(stored, str) and stored not in ("inf", "-inf")):
        raise ValueError(f'a threshold is a number or "inf", not {stored!r}')
    return float(stored)
