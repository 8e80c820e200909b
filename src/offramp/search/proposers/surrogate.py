"""NSGA-II on surrogates (as MSuNAS and NACHOS do): thousands of networks predicted for the few that are evaluated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from offramp.search.metric import METRICS
from offramp.search.pareto import hypervolume, non_dominated
from offramp.search.problem import Problem
from offramp.search.sampling import draw
from offramp.search.trial import Trial
from offramp.spaces import Genotype

_NEEDED = 4  # evaluations before anything can be predicted
Array = NDArray[np.float64]


class SurrogateProposer:
    """Fits one surrogate per metric that is not known beforehand, runs NSGA-II on them, and picks the batch from it.

    The batch is picked one by one, each the one whose predicted objectives add the most hypervolume to the front and to
    those picked before, so that it is good and diverse at once.

    `model` is one of `surrogates.SURROGATES`; `population` and `generations` are those of the NSGA-II inside;
    `crossover` and `mutation` as in `evolution.nsga2`.
    """

    name = "surrogate"

    def __init__(
        self,
        problem: Problem,
        model: str = "gp",
        population: int = 60,
        generations: int = 25,
        crossover: str = "uniform",
        mutation: float | None = None,
    ) -> None:
        from offramp.search.evolution import check_crossover
        from offramp.search.surrogates import SURROGATES

        if model not in SURROGATES:
            raise ValueError(f"model is {model!r}; known are {', '.join(SURROGATES)}")
        self._problem, self._model = problem, model
        self._population, self._generations = population, generations
        self._crossover, self._mutation = check_crossover(crossover), mutation

    def propose(self, trials: Sequence[Trial], count: int, rng: np.random.Generator) -> list[Genotype]:
        """See `Proposer.propose`."""
        seen = {trial.genotype for trial in trials}
        evaluated = [trial for trial in trials if trial.evaluation is not None]
        chosen = self._chosen(evaluated, seen, count, rng) if len(evaluated) >= _NEEDED else []
        return chosen + draw(self._problem, count - len(chosen), rng, seen | set(chosen))

    def _chosen(
        self, trials: Sequence[Trial], seen: set[Genotype], count: int, rng: np.random.Generator
    ) -> list[Genotype]:
        predict = _Predictor(self._problem, trials, self._model, int(rng.integers(2**31)))
        found = self._evolve(trials, seen, predict, rng)
        if not found:
            return []
        losses, violations = predict(found)
        beyond = np.maximum(violations, 0).sum(axis=1)
        feasible = np.flatnonzero(beyond <= 0)
        reached = self._problem.comparable(self._problem.loss_table([trial for trial in trials if trial.feasible]))
        picked = [int(feasible[i]) for i in pick(losses[feasible], reached, count)]
        rest = [int(i) for i in np.argsort(beyond, kind="stable") if i not in set(picked)]
        return [found[i] for i in (picked + rest)[:count]]

    def _evolve(
        self, trials: Sequence[Trial], seen: set[Genotype], predict: _Predictor, rng: np.random.Generator
    ) -> list[Genotype]:
        """The genotypes not yet seen in the last generation."""
        from pymoo.core.population import Population
        from pymoo.optimize import minimize

        from offramp.search.evolution import GenotypeProblem, genotypes, nsga2

        parents = _best(self._problem, trials)[: self._population // 2]
        fresh = draw(self._problem, self._population - len(parents), rng, set(parents))
        start = Population.new("X", np.array(parents + fresh))
        algorithm = nsga2(self._problem, start, self._population, (), self._crossover, self._mutation)
        space = GenotypeProblem(self._problem, predict)
        result = minimize(space, algorithm, ("n_gen", self._generations), seed=int(rng.integers(2**31)))
        return [genotype for genotype in genotypes(result.pop.get("X")) if genotype not in seen]


class _Predictor:
    """(genotypes) -> losses (N, M) made comparable, violations (N, C): known where known, predicted otherwise."""

    def __init__(self, problem: Problem, trials: Sequence[Trial], model: str, seed: int) -> None:
        from offramp.search.features import Features
        from offramp.search.surrogates import fit

        self._problem, self._features = problem, Features(problem)
        x = self._features([trial.genotype for trial in trials])
        known = problem.known(trials[0].genotype)
        wanted = dict.fromkeys([*problem.objectives, *(c.metric for c in problem.constraints)])
        self._fitted = {}
        for name in wanted:
            if name not in known:
                values = np.array([trial.metrics[name] for trial in trials])
                log = METRICS[name].log and bool((values > 0).all())
                self._fitted[name] = (fit(model, x, np.log(values) if log else values, seed), log)

    def __call__(self, genotypes: Sequence[Genotype]) -> tuple[Array, Array]:
        x = self._features(genotypes)
        predicted = {name: _value(model.predict(x), log) for name, (model, log) in self._fitted.items()}
        metrics = [
            {**self._problem.known(genotype), **{name: float(values[i]) for name, values in predicted.items()}}
            for i, genotype in enumerate(genotypes)
        ]
        losses = np.array([self._problem.losses(m) for m in metrics])
        violations = np.array([list(self._problem.violations(m).values()) for m in metrics])
        return self._problem.comparable(losses), violations.reshape(len(genotypes), -1)


def pick(losses: Array, reached: Array, count: int) -> list[int]:
    """Up to `count` rows of `losses` (N, M), each adding the most hypervolume to `reached` (P, M) and those before."""
    everything = np.concatenate([reached, losses])
    low, span = everything.min(axis=0, initial=np.inf), np.ptp(everything, axis=0) if len(everything) else 1.0
    span = np.where(np.asarray(span) > 0, span, 1.0)
    unit, front = (losses - low) / span, (reached - low) / span
    front, reference = front[non_dominated(front)], np.full(losses.shape[1], 1.1)
    picked: list[int] = []
    while len(picked) < min(count, len(losses)):
        rest = [i for i in range(len(losses)) if i not in picked]
        volumes = [hypervolume(np.concatenate([front, unit[[i]]]), reference) for i in rest]
        best = rest[int(np.argmax(volumes))]
        picked.append(best)
        front = np.concatenate([front, unit[[best]]])
    return picked


def _value(predicted: Array, log: bool) -> Array:
    return np.exp(predicted) if log else predicted


def _best(problem: Problem, trials: Sequence[Trial]) -> list[Genotype]:
    """The front's genotypes; those that violate least where nothing is feasible."""
    feasible = [trial for trial in trials if trial.feasible]
    if not feasible:
        return [trial.genotype for trial in sorted(trials, key=lambda trial: trial.violation)[:8]]
    return [feasible[i].genotype for i in non_dominated(problem.loss_table(feasible))]
