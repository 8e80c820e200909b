"""NSGA-II (Deb et al. 2002): pymoo's selection, crossover and survival on the trials; a batch is a generation."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from offramp.search.problem import Problem
from offramp.search.sampling import draw
from offramp.search.trial import Trial
from offramp.spaces import Genotype


class NSGA2Proposer:
    """The `population` best trials by feasibility, rank and crowding are the parents of every batch.

    Feasible before infeasible, less violation before more (Deb's rule). See `evolution.nsga2` for the other options.
    """

    name = "nsga2"

    def __init__(
        self, problem: Problem, population: int = 20, crossover: str = "uniform", mutation: float | None = None
    ) -> None:
        from offramp.search.evolution import check_crossover

        self._problem, self._population = problem, population
        self._crossover, self._mutation = check_crossover(crossover), mutation

    def propose(self, trials: Sequence[Trial], count: int, rng: np.random.Generator) -> list[Genotype]:
        """See `Proposer.propose`."""
        seen = {trial.genotype for trial in trials}
        parents = [trial for trial in trials if trial.evaluation is not None]
        # Without genes there is one candidate, and nothing to cross or mutate.
        children = self._children(parents, seen, count, rng) if parents and self._problem.space.genes else []
        return children + draw(self._problem, count - len(children), rng, seen | set(children))

    def _children(
        self, parents: Sequence[Trial], seen: Collection[Genotype], count: int, rng: np.random.Generator
    ) -> list[Genotype]:
        from pymoo.core.population import Population

        from offramp.search.evolution import GenotypeProblem, genotypes, nsga2

        problem, space = self._problem, GenotypeProblem(self._problem)
        violations = [list(problem.violations(trial.metrics).values()) for trial in parents]
        known = Population.new(
            "X", np.array([trial.genotype for trial in parents]),
            "F", problem.comparable(problem.loss_table(parents)),
            "G", np.array(violations).reshape(len(parents), len(problem.constraints)),
        )  # fmt: skip
        algorithm = nsga2(problem, known, self._population, seen, self._crossover, self._mutation)
        algorithm.setup(space, seed=int(rng.integers(2**31)))
        random = {"algorithm": algorithm, "random_state": algorithm.random_state}
        best = algorithm.survival.do(space, known, n_survive=self._population, **random)
        return genotypes(algorithm.mating.do(space, best, count, **random).get("X"))[:count]
