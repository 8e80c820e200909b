"""What a search is about: a space, what is to be minimised, and what must hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from offramp.architecture import Architecture
from offramp.search.constraint import Constraint
from offramp.search.metric import METRICS, check_metric
from offramp.search.trial import Trial
from offramp.spaces import Candidate, Genotype, SearchSpace

Known = Callable[[Candidate], Mapping[str, float]]
"""Metrics that follow from a candidate without evaluating it, and quickly; see `analytic_costs`.

Besides metrics it may give `least_METRIC`, a value that METRIC cannot fall below.
"""
Leaving = Callable[[Architecture], Mapping[str, Sequence[float]]]
"""Metrics that are means over samples -> (E,), what each is for a sample that leaves at each exit; see `Costs`."""
_REMEMBERED = 100_000


class Problem:
    """A `space`, `objectives` (metric names), `constraints` (as text, or parsed), and what is `known` beforehand.

    `leaving`: what is known of metrics that depend on where samples leave besides.

    Raises:
        ValueError: no objective, one named twice, an unknown metric, or a constraint that does not parse.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[str],
        constraints: Sequence[str | Constraint] = (),
        known: Known | None = None,
        leaving: Leaving | None = None,
    ) -> None:
        if not objectives or len(set(objectives)) != len(objectives):
            raise ValueError(f"objectives is {list(objectives)}; it needs at least one metric and none twice")
        self.space = space
        self.objectives = tuple(check_metric(name, "objectives") for name in objectives)
        self.constraints = tuple(Constraint.parse(c) if isinstance(c, str) else c for c in constraints)
        self.canonical = lru_cache(_REMEMBERED)(space.canonical)
        self._known = known
        self._known_of = lru_cache(_REMEMBERED)(lambda genotype: dict(known(space.decode(genotype))) if known else {})
        self._leaving_of = lru_cache(_REMEMBERED)(lambda genotype: _leaving(space, leaving, genotype))
        self._signs = np.array([-1.0 if METRICS[name].maximise else 1.0 for name in self.objectives])

    def known(self, genotype: Genotype) -> Mapping[str, float]:
        """What is known of a genotype's candidate without evaluating it."""
        return self._known_of(genotype)

    def leaving(self, genotype: Genotype) -> tuple[tuple[int, ...], Mapping[str, Sequence[float]]]:
        """The exits of a genotype's network, and what is known by exit of metrics that are means over samples."""
        return self._leaving_of(genotype)

    def losses(self, metrics: Mapping[str, float]) -> NDArray[np.float64]:
        """(M,), the objectives, turned so that less is better.

        Raises:
            ValueError: an objective was not measured.
        """
        missing = [name for name in self.objectives if name not in metrics]
        if missing:
            raise ValueError(f"evaluation lacks {', '.join(missing)}; it has {', '.join(metrics) or 'nothing'}")
        return self._signs * [metrics[name] for name in self.objectives]

    def loss_table(self, trials: Sequence[Trial]) -> NDArray[np.float64]:
        """(N, M), `losses` of each trial; none may be a failure."""
        return np.array([self.losses(trial.metrics) for trial in trials]).reshape(len(trials), len(self.objectives))

    def comparable(self, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """`losses` (N, M) with the logarithm taken of costs, which span decades."""
        found = np.array(losses, dtype=float)
        for column, name in enumerate(self.objectives):
            if METRICS[name].log and (found[:, column] > 0).all():
                found[:, column] = np.log(found[:, column])
        return found

    def violations(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Constraint -> its violation; holds when <= 0."""
        return {str(c): c.violation(metrics) for c in self.constraints}

    def violation(self, metrics: Mapping[str, float]) -> float:
        """Sum of the violations of the constraints that do not hold; 0 when all do."""
        return sum(max(0.0, v) for v in self.violations(metrics).values())

    def known_violation(self, genotype: Genotype) -> float:
        """The violation that a genotype is certain to have, from what is known alone."""
        known = self.known(genotype)
        found = 0.0
        for c in self.constraints:
            value = known.get(c.metric, None if c.at_least else known.get(f"least_{c.metric}"))
            if value is not None:
                found += max(0.0, c.violation({c.metric: value}))
        return found


def _leaving(
    space: SearchSpace, leaving: Leaving | None, genotype: Genotype
) -> tuple[tuple[int, ...], Mapping[str, Sequence[float]]]:
    architecture = space.decode(genotype).architecture
    return architecture.exits, dict(leaving(architecture)) if leaving else {}
