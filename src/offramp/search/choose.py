"""The choice among what a search found."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from offramp.architecture import Architecture
from offramp.search.constraint import Constraint
from offramp.search.errors import NothingFeasible
from offramp.search.known import analytic_costs
from offramp.search.pareto import non_dominated
from offramp.search.problem import Problem
from offramp.search.trial import Trial
from offramp.spaces import Candidate


def best_tradeoff(problem: Problem, trials: Sequence[Trial]) -> Trial:
    """The knee of the front: the point furthest below the plane through the best of each objective.

    Objectives are scaled to 0..1 over the front first, costs by their logarithm, so that a tenfold saving weighs the
    same at either end.

    Raises:
        NothingFeasible: no trial keeps every constraint; the message tells by how much the nearest misses.
    """
    feasible = _feasible(problem, trials)
    front = [feasible[i] for i in non_dominated(problem.loss_table(feasible))]
    return front[int(np.argmin(_unit(problem, front).sum(axis=1)))]


def best_within(problem: Problem, trials: Sequence[Trial], budget: str | Constraint) -> Trial:
    """The most accurate feasible trial that keeps `budget`: `"mean_macs <= 1e6"`.

    Then the best in the other objectives; where accuracy is no objective, the best in the first one, then the others.

    Raises:
        NothingFeasible: no trial keeps constraints and budget; the message tells by how much the nearest misses.
        ValueError: the budget does not parse, or names a metric that was not measured.
    """
    budget = Constraint.parse(budget) if isinstance(budget, str) else budget
    feasible = _feasible(problem, trials)
    within = [trial for trial in feasible if budget.violation(trial.metrics) <= 0]
    if not within:
        nearest = min(feasible, key=lambda trial: budget.violation(trial.metrics))
        raise NothingFeasible(f"nothing found keeps {budget}; nearest is {_missed(nearest, [budget])}", nearest)
    first = [i for i, objective in enumerate(problem.objectives) if objective in ("error", "accuracy")]
    return min(within, key=lambda trial: (*(losses := problem.losses(trial.metrics))[first], *losses))


def best_static(
    trials: Sequence[Trial], bound: float, cost: Callable[[Architecture], float] | None = None
) -> Architecture:
    """The static network that costs at most `bound` and was most accurate in the search; the smaller of equal ones.

    Every exit of every trial, cut off behind it and without the branches before it, is a static network that was
    scored, at the bits of that trial. `cost` is what it costs; MACs if not given.

    Raises:
        NothingFeasible: none is that cheap.
        ValueError: an evaluation does not tell, as `extra["exit_accuracy"]`, how accurate each exit is.
    """
    found: dict[Architecture, float] = {}
    for trial in trials:
        if trial.evaluation is not None:
            architecture = trial.candidate.architecture
            if "exit_accuracy" not in trial.evaluation.extra:
                raise ValueError(f"trial {trial.number} has no extra['exit_accuracy'], a number for each exit")
            for position, accuracy in zip(architecture.exits, trial.evaluation.extra["exit_accuracy"]):
                static = architecture.with_exits((position,))
                found[static] = max(accuracy, found.get(static, 0.0))
    for static in sorted(found, key=lambda static: (-found[static], _macs(static))):
        if (cost or _macs)(static) <= bound:
            return static
    raise NothingFeasible(f"no trial holds a static network that costs at most {bound:g}; the bound is too low")


def _macs(architecture: Architecture) -> float:
    return analytic_costs(Candidate(architecture))["full_macs"]


def backbone_static(
    trials: Sequence[Trial], architecture: Architecture, cost: Callable[[Architecture], float]
) -> Architecture:
    """The static network of `architecture`: its whole backbone at its bits, and a final exit, no other.

    Of the final exits that it or a trial has behind that backbone, at those bits, the cheapest by `cost`: a branch with
    many weights can cost more energy than the backbone, and what is saved against such a network flatters.
    """
    alike = [architecture, *(trial.candidate.architecture for trial in trials)]
    statics = {a.with_exits(a.exits[-1:]) for a in alike if _backbone(a) == _backbone(architecture)}
    return min(statics, key=lambda static: (cost(static), static.key))


def _backbone(architecture: Architecture) -> tuple[object, ...]:
    blocks = tuple(stage.blocks for stage in architecture.stages)
    return architecture.input, architecture.classes, architecture.precision, blocks


def _feasible(problem: Problem, trials: Sequence[Trial]) -> list[Trial]:
    """The feasible trials, of which there is at least one."""
    found = [trial for trial in trials if trial.feasible]
    if found:
        return found
    evaluated = [trial for trial in trials if trial.evaluation is not None]
    if not evaluated:
        raise NothingFeasible(f"none of {len(trials)} trials was evaluated without failing")
    nearest = min(evaluated, key=lambda trial: trial.violation)
    missed = f"nearest is {_missed(nearest, problem.constraints)}"
    raise NothingFeasible(f"none of {len(evaluated)} evaluated trials keeps every constraint; {missed}", nearest)


def _missed(trial: Trial, constraints: Sequence[Constraint]) -> str:
    beyond = [
        f"{c.metric} {trial.metrics[c.metric]:g} against {c} ({c.violation(trial.metrics):.1%} beyond)"
        for c in constraints
        if c.violation(trial.metrics) > 0
    ]
    return f"trial {trial.number} with {', '.join(beyond)}"


def _unit(problem: Problem, front: Sequence[Trial]) -> np.ndarray:
    """(N, M), losses scaled to 0..1 over the front."""
    losses = problem.comparable(problem.loss_table(front))
    low, span = losses.min(axis=0), np.ptp(losses, axis=0)
    return (losses - low) / np.where(span > 0, span, 1)
