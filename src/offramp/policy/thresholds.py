"""How a network's thresholds are set on a table: tuned, its own, or as NACHOS or AEBNAS set them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offramp.policy.goal import Goal
from offramp.policy.grid_score import ABSENT, VALUES, grid_score
from offramp.policy.policy import Policy, Setting, operate
from offramp.policy.repair import RepairError, repair, shared_threshold
from offramp.policy.subsets import Exits, exit_subsets, neighbours
from offramp.policy.table import ScoreTable
from offramp.policy.tuner import tune

THRESHOLDS = ("tuned", "genes", "repair", "grid")
"""What a recipe's `policy.thresholds` may be, in the order of the classes below."""


class Thresholds(ABC):
    """A way to set thresholds."""

    def keep(self, table: ScoreTable, costs_of: Callable[[Exits], Sequence[float]]) -> Exits:
        """The exits that stay, the last among them: all, unless this way drops some before thresholds are set.

        Args:
            table: N samples, E exits.
            costs_of: exits kept -> what a sample costs in all that leaves at each of them, any unit.
        """
        return tuple(range(table.exits))

    @abstractmethod
    def set(
        self,
        table: ScoreTable,
        costs: Sequence[float] | NDArray[np.float64],
        own: tuple[float, ...] | None = None,
    ) -> Setting:
        """The policy for a network, and what it comes to on the table.

        Args:
            table: N samples, E exits.
            costs: (E,), the whole cost of a sample that leaves at exit e, any unit.
            own: E - 1 thresholds that came with the network; None where it has none.

        Raises:
            ValueError: thresholds, costs and table do not fit one another.
        """


@dataclass(frozen=True)
class TunedThresholds(Thresholds):
    """The best found by `tune` for `goal`, under the best of `measures`.

    Attributes:
        drop: `keep` leaves out exits without which `tune` comes further: a branch costs all that pass it.
    """

    goal: Goal
    measures: tuple[str, ...]
    restarts: int = 4
    drop: bool = False

    def keep(self, table: ScoreTable, costs_of: Callable[[Exits], Sequence[float]]) -> Exits:
        """See `Thresholds.keep`; of equally good subsets that with the fewest exits.

        The best of all subsets where `exit_subsets` gives all; of more than seven exits, the best of those that it
        gives, and then one exit more, less or another in its place as long as that is better.
        """
        if not self.drop:
            return super().keep(table, costs_of)
        known: dict[Exits, tuple[float, float]] = {}

        def best(subsets: Sequence[Exits]) -> Exits:
            for exits in subsets:
                if exits not in known:
                    found = tune(table.keep(exits), costs_of(exits), self.goal, measures=self.measures, restarts=0)
                    known[exits] = found.operation.accuracy, found.operation.mean_cost
            fewest_first = sorted(set(subsets), key=lambda exits: (len(exits), exits))
            accuracies, means = np.array([known[exits] for exits in fewest_first]).T
            return fewest_first[self.goal.best(accuracies, means)]

        found = best(exit_subsets(table.exits))
        while True:
            # Another in its place, of which there are many, only where neither one more nor one less is better.
            ways = neighbours(found)
            better = next((b for way in ways if (b := best([found, *way])) != found), found)
            if better == found:
                return found
            found = better

    def set(
        self, table: ScoreTable, costs: Sequence[float] | NDArray[np.float64], own: tuple[float, ...] | None = None
    ) -> Setting:
        """See `Thresholds.set`."""
        return tune(table, costs, self.goal, measures=self.measures, restarts=self.restarts)


class OwnThresholds(TunedThresholds):
    """Those that came with the network, under the first of `measures`; tuned where there are none."""

    def set(
        self, table: ScoreTable, costs: Sequence[float] | NDArray[np.float64], own: tuple[float, ...] | None = None
    ) -> Setting:
        """See `Thresholds.set`; `feasible` says whether the goal's constraint happens to hold."""
        if own is None:
            return super().set(table, costs)
        policy = Policy(self.measures[0], own)
        operation = operate(policy, table, costs)
        return Setting(policy, operation, self.goal.holds(operation.accuracy, operation.mean_cost))


@dataclass(frozen=True)
class RepairedThresholds(Thresholds):
    """NACHOS' own: `shared_threshold`, then `repair` until `max_cost` is met at `min_accuracy`.

    Attributes:
        measure: the confidence measure.
        max_cost: in the unit of the costs.
        min_accuracy: in 0..1.
        must_hold: raise a RepairError where no feasible policy is reached, instead of giving the last one.
    """

    measure: str
    max_cost: float
    min_accuracy: float
    must_hold: bool = True

    def set(
        self, table: ScoreTable, costs: Sequence[float] | NDArray[np.float64], own: tuple[float, ...] | None = None
    ) -> Setting:
        """See `Thresholds.set`.

        Raises:
            RepairError: `must_hold`, and the thresholds cannot be made feasible in this way.
        """
        start = shared_threshold(table, costs, self.measure)
        found = repair(start, table, costs, max_cost=self.max_cost, min_accuracy=self.min_accuracy)
        if self.must_hold and not found.feasible:
            raise RepairError(
                f"thresholds cannot be made feasible: lowering them ends at mean cost {found.operation.mean_cost:.6g} "
                f"and accuracy {found.operation.accuracy:.4g}; wanted are at most {self.max_cost:g} and at least "
                f"{self.min_accuracy:g}"
            )
        return found


@dataclass(frozen=True)
class GridThresholds(Thresholds):
    """AEBNAS' own: the best `grid_score` of margins for the mean cost `target`; `keep` drops its absent exits."""

    target: float

    def keep(self, table: ScoreTable, costs_of: Callable[[Exits], Sequence[float]]) -> Exits:
        """See `Thresholds.keep`."""
        return grid_score(table, costs_of, self.target).choice.exits

    def set(
        self, table: ScoreTable, costs: Sequence[float] | NDArray[np.float64], own: tuple[float, ...] | None = None
    ) -> Setting:
        """See `Thresholds.set`, for the exits that were kept; `feasible` says whether the target is not exceeded."""
        present = [value for value in VALUES if value <= ABSENT]
        point = grid_score(table, lambda _: tuple(costs), self.target, values=present).choice.point
        return Setting(point.policy, point.operation, point.mean_cost <= self.target)
