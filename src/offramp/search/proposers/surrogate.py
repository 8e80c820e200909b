"""NSGA-II on surrogates (as MSuNAS and NACHOS do): thousands of networks predicted for the few that are evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from offramp.search.metric import METRICS
from offramp.search.pareto import hypervolume, non_dominated
from offramp.search.penalty import DOMINATIONS, capped, remaining
from offramp.search.problem import Problem
from offramp.search.sampling import draw
from offramp.search.trial import Trial
from offramp.spaces import Genotype

if TYPE_CHECKING:
    from offramp.search.shares import ShareModel
    from offramp.search.surrogates import Surrogate

_NEEDED = 4  # evaluations before anything can be predicted
_NEWEST = 5  # one in so many evaluations, the newest, tells how well the older ones predict
PREDICT = ("objectives", "shares")
Array = NDArray[np.float64]
Report = Callable[[Mapping[str, Any]], None]


class SurrogateProposer:
    """Fits one surrogate per metric that is not known beforehand, runs NSGA-II on them, and picks the batch from it.

    The batch is picked one by one, each the one whose predicted objectives add the most hypervolume to the front and to
    those picked before, so that it is good and diverse at once.

    `model` is one of `surrogates.SURROGATES`; `population` and `generations` are those of the NSGA-II inside;
    `crossover` and `mutation` as in `evolution.nsga2`. `domination` is how that NSGA-II treats constraints:
    "feasibility" puts what is feasible first; "penalty" replaces the objectives that have a bound by NACHOS' F_CM (see
    `evolution.PenaltySurvival`), other constraints stay what they are. Either way the batch is picked from what is
    predicted to be feasible as long as there is enough.

    `predict` is what is learned of metrics that are means over samples (mean MACs, mean energy, ...): "objectives", the
    metrics themselves; or "shares", where samples leave, from which they follow by the exact costs of each exit.

    `report` is told of every batch: the number of `trials` it was proposed from, the `surrogates` (metric -> model;
    `from` "shares" where it follows from those; where "auto" chose the model `tau`, its mean, `tau_std`, and those of
    all `models`; `tau_newest`: Kendall's tau on the newest fifth of the trials, predicted from those before), and `phi`
    under "penalty".

    Raises:
        ValueError: an unknown name; "penalty" with no objective that has an upper bound; or "shares" of a problem that
            does not tell what leaving at each exit costs.
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
        domination: str = "feasibility",
        predict: str = "objectives",
        report: Report | None = None,
    ) -> None:
        from offramp.search.evolution import check_crossover
        from offramp.search.surrogates import SURROGATES

        if model not in SURROGATES:
            raise ValueError(f"model is {model!r}; known are {', '.join(SURROGATES)}")
        if domination not in DOMINATIONS:
            raise ValueError(f"domination is {domination!r}; known are {', '.join(DOMINATIONS)}")
        if domination == "penalty" and not capped(problem):
            raise ValueError(f"domination 'penalty' needs an objective with an upper bound; {_bounds(problem)}")
        if predict not in PREDICT:
            raise ValueError(f"predict is {predict!r}; known are {', '.join(PREDICT)}")
        if predict == "shares" and not problem.leaving(problem.canonical((0,) * len(problem.space.genes)))[1]:
            raise ValueError("predict is 'shares', but the problem does not tell what leaving at each exit costs")
        self._problem, self._model, self._report = problem, model, report
        self._shares = predict == "shares"
        self._bounds = capped(problem) if domination == "penalty" else {}
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
        seed = int(rng.integers(2**31))
        predict = Predictor(self._problem, trials, self._model, seed, self._shares)
        found, phi = self._evolve(trials, seen, predict, rng)
        if self._report is not None:
            chosen = predict.chosen
            models = {name: model["model"] for name, model in chosen.items()}
            for name, tau in self._newest(trials, models, seed).items():
                chosen[name]["tau_newest"] = tau
            self._report({"trials": len(seen), "surrogates": chosen, **({"phi": phi} if phi else {})})
        if not found:
            return []
        losses, violations = predict(found)
        beyond = np.maximum(violations, 0).sum(axis=1)
        feasible = np.flatnonzero(beyond <= 0)
        reached = self._problem.comparable(self._problem.loss_table([trial for trial in trials if trial.feasible]))
        picked = [int(feasible[i]) for i in pick(losses[feasible], reached, count)]
        rest = [int(i) for i in np.argsort(beyond, kind="stable") if i not in set(picked)]
        return [found[i] for i in (picked + rest)[:count]]

    def _newest(self, trials: Sequence[Trial], models: Mapping[str, str], seed: int) -> dict[str, float]:
        """Predicted metric -> Kendall's tau on the newest trials, predicted from those before by the same `models`."""
        from offramp.search.surrogates import tau

        count = len(trials) // _NEWEST
        older, newest = trials[: len(trials) - count], trials[len(trials) - count :]
        if count < 2 or len(older) < _NEEDED:
            return {}
        predict = Predictor(self._problem, older, models, seed, self._shares)
        predicted = predict.values([trial.genotype for trial in newest])
        return {name: tau(p, np.array([t.metrics[name] for t in newest])) for name, p in predicted.items()}

    def _evolve(
        self, trials: Sequence[Trial], seen: set[Genotype], predict: Predictor, rng: np.random.Generator
    ) -> tuple[list[Genotype], dict[str, float]]:
        """The genotypes not yet seen in the last generation; objective -> phi, where it is judged by F_CM."""
        from pymoo.core.population import Population
        from pymoo.optimize import minimize

        from offramp.search.evolution import GenotypeProblem, PenaltySurvival, genotypes, nsga2

        problem, penalty = self._problem, PenaltySurvival(self._bounds) if self._bounds else None
        parents = _best(problem, trials)[: self._population // 2]
        fresh = draw(problem, self._population - len(parents), rng, set(parents))
        start = Population.new("X", np.array(parents + fresh))
        algorithm = nsga2(problem, start, self._population, (), self._crossover, self._mutation, penalty)
        space = GenotypeProblem(problem, predict)
        if penalty is not None:
            left = remaining(problem)
            space = GenotypeProblem(problem, lambda g: predict.uncapped(g, self._bounds, left), len(left))
        result = minimize(space, algorithm, ("n_gen", self._generations), seed=int(rng.integers(2**31)))
        last = result.algorithm.survival  # pymoo works on a copy
        phi = {problem.objectives[column]: share for column, share in last.phi.items()} if penalty is not None else {}
        return [genotype for genotype in genotypes(result.pop.get("X")) if genotype not in seen], phi


class Predictor:
    """(genotypes) -> losses (N, M) made comparable, violations (N, C): known where known, predicted otherwise.

    `model` is one for all metrics, or one for each.
    """

    def __init__(
        self,
        problem: Problem,
        trials: Sequence[Trial],
        model: str | Mapping[str, str],
        seed: int,
        shares: bool = False,
    ) -> None:
        from offramp.search.features import Features
        from offramp.search.shares import ShareModel
        from offramp.search.surrogates import fit

        self._problem, self._features = problem, Features(problem)
        x = self._features([trial.genotype for trial in trials])
        known = problem.known(trials[0].genotype)
        wanted = dict.fromkeys([*problem.objectives, *(c.metric for c in problem.constraints)])
        unknown = [name for name in wanted if name not in known]
        self._accuracy = "error" in unknown and "accuracy" in unknown  # 1 - error: another model would be one too many
        if self._accuracy:
            unknown.remove("accuracy")
        by_exit = problem.leaving(trials[0].genotype)[1] if shares else {}
        self._means = [name for name in unknown if name in by_exit]
        of = dict.fromkeys(unknown, model) if isinstance(model, str) else model
        self._shares: ShareModel | None = None
        if self._means:
            left = [trial.evaluation.extra.get("utilisation", ()) if trial.evaluation else () for trial in trials]
            exits = [trial.candidate.architecture.exits for trial in trials]
            self._shares = ShareModel(of[self._means[0]], x, exits, left, seed)
        self._fitted = {}
        for name in unknown:
            if name not in by_exit:
                values = np.array([trial.metrics[name] for trial in trials])
                log = METRICS[name].log and bool((values > 0).all())
                self._fitted[name] = (fit(of[name], x, np.log(values) if log else values, seed), log)

    @property
    def chosen(self) -> dict[str, dict[str, Any]]:
        """Metric -> the model it is predicted by, with its tau where that was computed."""
        found = {metric: _described(model) for metric, (model, _) in self._fitted.items()}
        if self._shares is not None:
            found |= {metric: {**_described(self._shares), "from": "shares"} for metric in self._means}
        return found

    def __call__(self, genotypes: Sequence[Genotype]) -> tuple[Array, Array]:
        """See the class."""
        losses, violations = self._predict(genotypes)
        return self._problem.comparable(losses), violations

    def uncapped(
        self, genotypes: Sequence[Genotype], bounds: Mapping[int, float], left: Sequence[int]
    ) -> tuple[Array, Array]:
        """As a call, but the losses of columns `bounds` in their own unit, and only the violations of columns `left`.

        F_CM adds and subtracts costs, so logarithms would not do.
        """
        losses, violations = self._predict(genotypes)
        found = self._problem.comparable(losses)
        columns = list(bounds)
        found[:, columns] = losses[:, columns]
        return found, violations[:, list(left)]

    def values(self, genotypes: Sequence[Genotype]) -> dict[str, Array]:
        """Metric -> (N,), for those that are predicted."""
        x = self._features(genotypes)
        predicted = {name: _value(model.predict(x), log) for name, (model, log) in self._fitted.items()}
        if self._shares is not None:
            leaving = [self._problem.leaving(genotype) for genotype in genotypes]
            shares = self._shares.predict(x, [exits for exits, _ in leaving])
            for name in self._means:
                predicted[name] = np.array([r @ np.array(costs[name]) for r, (_, costs) in zip(shares, leaving)])
        return predicted

    def _predict(self, genotypes: Sequence[Genotype]) -> tuple[Array, Array]:
        predicted = self.values(genotypes)
        if self._accuracy:
            predicted["accuracy"] = 1 - predicted["error"]
        metrics = [
            {**self._problem.known(genotype), **{name: float(values[i]) for name, values in predicted.items()}}
            for i, genotype in enumerate(genotypes)
        ]
        losses = np.array([self._problem.losses(m) for m in metrics])
        violations = np.array([list(self._problem.violations(m).values()) for m in metrics])
        return losses, violations.reshape(len(genotypes), -1)


def _described(model: Surrogate | ShareModel) -> dict[str, Any]:
    """The model's name, and the ranks by which it was chosen."""
    if not model.ranks:
        return {"model": model.name}
    ranks = {name: {"tau": tau, "tau_std": std} for name, (tau, std) in model.ranks.items()}
    return {"model": model.name, **ranks[model.name], "models": ranks}


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


def _bounds(problem: Problem) -> str:
    constraints = ", ".join(map(str, problem.constraints)) or "none"
    return f"objectives are {', '.join(problem.objectives)}, constraints {constraints}"


def _value(predicted: Array, log: bool) -> Array:
    return np.exp(predicted) if log else predicted


def _best(problem: Problem, trials: Sequence[Trial]) -> list[Genotype]:
    """The front's genotypes; those that violate least where nothing is feasible."""
    feasible = [trial for trial in trials if trial.feasible]
    if not feasible:
        return [trial.genotype for trial in sorted(trials, key=lambda trial: trial.violation)[:8]]
    return [feasible[i].genotype for i in non_dominated(problem.loss_table(feasible))]
