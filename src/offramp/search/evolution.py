"""The parts of pymoo's NSGA-II that know what a genotype is: numbers that stand for categories."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.repair import Repair
from pymoo.operators.crossover.pntx import TwoPointCrossover
from pymoo.operators.crossover.ux import UniformCrossover
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

from offramp.search.penalty import penalised
from offramp.search.problem import Problem
from offramp.spaces import Genotype

CROSSOVERS = {"uniform": UniformCrossover, "two-point": TwoPointCrossover}
Score = Callable[[Sequence[Genotype]], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""(N genotypes) -> losses (N, M), violations (N, C)."""


class GenotypeProblem(PymooProblem):
    """A `Problem` as pymoo sees it; `score` gives its numbers, and may be left out where nothing is evaluated.

    `constraints` is how many violations `score` gives, where those are fewer than the problem's.
    """

    def __init__(self, problem: Problem, score: Score | None = None, constraints: int | None = None) -> None:
        self.choices = np.array([len(gene.choices) for gene in problem.space.genes])
        super().__init__(
            n_var=len(self.choices),
            n_obj=len(problem.objectives),
            n_ieq_constr=len(problem.constraints) if constraints is None else constraints,
            xl=np.zeros_like(self.choices),
            xu=self.choices - 1,
            vtype=int,
        )
        self._score = score

    def _evaluate(self, x: NDArray[Any], out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        assert self._score is not None
        out["F"], violations = self._score(genotypes(x))
        if self.n_ieq_constr:
            out["G"] = violations


class ChoiceMutation(Mutation):
    """Every gene, with probability `rate`, becomes another of its choices, all equally likely."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self._rate = rate

    def _do(self, problem: Any, X: NDArray[Any], *args: Any, random_state: Any = None, **kwargs: Any) -> NDArray[Any]:
        X = X.astype(int)
        # A shift by 1 .. n - 1 round the circle of choices: never the same, never out of range, never unreachable.
        shift = 1 + (random_state.random(X.shape) * (problem.choices - 1)).astype(int)
        mutate = (random_state.random(X.shape) < self._rate) & (problem.choices > 1)
        return np.where(mutate, (X + shift) % problem.choices, X)


class PenaltySurvival(RankAndCrowding):
    """NSGA-II's selection under `penalty.penalised`: objectives with a bound are judged as F_CM.

    phi is the share, in each generation, of the parents and children to select from whose (plain) cost keeps the bound.
    All of them are judged anew by it, so that old and new ones are compared alike.

    Attributes:
        phi: objective's column -> phi of the last generation.
    """

    def __init__(self, bounds: Mapping[int, float]) -> None:
        """`bounds`: objective's column -> bound, in the unit of the losses."""
        super().__init__()
        self._bounds = dict(bounds)
        self.phi: dict[int, float] = {}

    def do(self, problem: Any, pop: Population, *args: Any, **kwargs: Any) -> Any:
        """As pymoo's, which then selects by what is set here."""
        losses = np.array([_plain_losses(individual) for individual in pop], dtype=float)
        if len(pop):
            self.phi = {column: float((losses[:, column] <= bound).mean()) for column, bound in self._bounds.items()}
            for column, bound in self._bounds.items():
                losses[:, column] = penalised(losses[:, column], bound, self.phi[column])
            pop.set("F", losses)
        return super().do(problem, pop, *args, **kwargs)


def _plain_losses(individual: Any) -> NDArray[np.float64]:
    """What the problem gave, whatever F has been set to since."""
    if "plain" not in individual.data:
        individual.data["plain"] = individual.F.copy()
    return individual.data["plain"]


class _Canonical(Repair):
    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self._problem = problem

    def _do(self, problem: Any, X: NDArray[Any], **kwargs: Any) -> NDArray[np.int64]:
        return np.array([self._problem.canonical(genotype) for genotype in genotypes(X)])


class _Unwanted(DuplicateElimination):
    """Drops repetitions, what was `seen`, and what is known to violate a constraint."""

    def __init__(self, problem: Problem, seen: Collection[Genotype]) -> None:
        super().__init__()
        self._problem, self._seen = problem, seen

    def _do(self, pop: Population, other: Population | None, is_duplicate: NDArray[np.bool_]) -> NDArray[np.bool_]:
        taken = set() if other is None else set(genotypes(other.get("X")))
        for i, genotype in enumerate(genotypes(pop.get("X"))):
            known = genotype in self._seen or self._problem.known_violation(genotype) > 0
            is_duplicate[i] = known or genotype in taken
            taken.add(genotype)
        return is_duplicate


def nsga2(
    problem: Problem,
    sampling: Population,
    population: int,
    seen: Collection[Genotype] = (),
    crossover: str = "uniform",
    rate: float | None = None,
    survival: RankAndCrowding | None = None,
) -> NSGA2:
    """pymoo's NSGA-II over genotypes, started from `sampling`.

    Args:
        problem: gives the genes.
        sampling: the first generation.
        population: individuals per generation.
        seen: genotypes that it must not make.
        crossover: one of `CROSSOVERS`; see `check_crossover`.
        rate: probability that a gene mutates; two genes in the mean if not given, as about half are inactive.
        survival: who lives on; by rank and crowding, feasible ones first, if not given.
    """
    return NSGA2(
        pop_size=population,
        sampling=sampling,
        crossover=CROSSOVERS[crossover](),
        mutation=ChoiceMutation(min(0.5, 2 / len(problem.space.genes)) if rate is None else rate),
        survival=survival or RankAndCrowding(),
        repair=_Canonical(problem),
        eliminate_duplicates=_Unwanted(problem, seen),
    )


def check_crossover(name: str) -> str:
    """`name`, if it is a crossover.

    Raises:
        ValueError: it is not.
    """
    if name not in CROSSOVERS:
        raise ValueError(f"crossover is {name!r}; known are {', '.join(CROSSOVERS)}")
    return name


def genotypes(table: NDArray[Any]) -> list[Genotype]:
    """The rows of a table (N, G) of choice indices."""
    return [tuple(int(index) for index in row) for row in table]
