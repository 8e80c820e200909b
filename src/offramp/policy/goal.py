"""What is wanted of a policy."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

Key = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


class Goal(ABC):
    """An order among operating points; more accuracy and less cost are never worse."""

    @abstractmethod
    def key(self, accuracy: np.ndarray, cost: np.ndarray) -> Key:
        """(violation, loss, tie), each of the arguments' shape: smaller is better, the first that differs decides.

        Args:
            accuracy: in 0..1.
            cost: mean costs, in the unit of the goal.
        """

    @staticmethod
    def accuracy_at_cost(cost: float) -> "Goal":
        """Most accuracy among the policies of mean cost <= `cost`."""
        return AccuracyAtCost(cost)

    @staticmethod
    def cost_at_accuracy(accuracy: float) -> "Goal":
        """Least mean cost among the policies of accuracy >= `accuracy` (in 0..1)."""
        return CostAtAccuracy(accuracy)

    @staticmethod
    def tradeoff(price: float) -> "Goal":
        """Most accuracy minus `price` times mean cost; `price` >= 0 is accuracy (0..1) for a unit of cost."""
        return Tradeoff(price)

    def holds(self, accuracy: float, cost: float) -> bool:
        """Whether the goal's constraint, if it has one, is met."""
        return bool(self.key(np.array(accuracy), np.array(cost))[0] == 0)

    def best(self, accuracy: np.ndarray, cost: np.ndarray) -> int:
        """Flat index of the best point, the first among equals; where none is feasible, the one nearest to it."""
        left = np.arange(accuracy.size)
        for part in self.key(accuracy.ravel(), cost.ravel()):
            left = left[part[left] == part[left].min()]
        return int(left[0])

    def better(self, one: tuple[float, float], other: tuple[float, float]) -> bool:
        """Whether one (accuracy, cost) is strictly better than another."""
        first, second = (tuple(float(part) for part in self.key(np.array(a), np.array(c))) for a, c in (one, other))
        return first < second


@dataclass(frozen=True)
class AccuracyAtCost(Goal):
    """See `Goal.accuracy_at_cost`."""

    cost: float

    def __post_init__(self) -> None:
        _check_finite("cost", self.cost)

    def key(self, accuracy: np.ndarray, cost: np.ndarray) -> Key:
        """See `Goal.key`."""
        return np.maximum(cost - self.cost, 0.0), -accuracy, cost


@dataclass(frozen=True)
class CostAtAccuracy(Goal):
    """See `Goal.cost_at_accuracy`."""

    accuracy: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.accuracy <= 1.0:
            raise ValueError(f"accuracy must lie in 0..1, not {self.accuracy}")

    def key(self, accuracy: np.ndarray, cost: np.ndarray) -> Key:
        """See `Goal.key`."""
        return np.maximum(self.accuracy - accuracy, 0.0), cost, -accuracy


@dataclass(frozen=True)
class Tradeoff(Goal):
    """See `Goal.tradeoff`."""

    price: float

    def __post_init__(self) -> None:
        _check_finite("price", self.price)
        if self.price < 0:
            raise ValueError(f"price must be at least 0, not {self.price}")

    def key(self, accuracy: np.ndarray, cost: np.ndarray) -> Key:
        """See `Goal.key`."""
        return np.zeros_like(cost), self.price * cost - accuracy, cost


def _check_finite(name: str, value: float) -> None:
    if not isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {value}")
