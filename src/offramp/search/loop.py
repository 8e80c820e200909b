"""The search loop: propose, evaluate, record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from offramp.search.errors import NothingFeasible
from offramp.search.evaluation import Evaluation, Failure
from offramp.search.pareto import hypervolume
from offramp.search.problem import Problem
from offramp.search.proposers.base import Proposer
from offramp.search.sampling import hopeless, spread
from offramp.search.study import Study
from offramp.search.trial import Trial
from offramp.spaces import Candidate, Genotype

_log = logging.getLogger(__name__)
INITIAL = "initial"
Batch = tuple[int, str, list[Genotype]]
"""(trials when it was proposed, who proposed it, genotypes not yet evaluated)"""


@dataclass(frozen=True)
class Outcome:
    """How a search ended: `reason` in words, and how many trials it evaluated in this process."""

    reason: str
    evaluated: int


def search(
    evaluate: Callable[[Candidate], Evaluation],
    study: Study,
    proposer: Proposer,
    *,
    evaluations: int,
    initial: int,
    batch: int = 8,
    seed: int = 0,
    progress: Callable[[int, int, Trial], None] | None = None,
    stop_after: int | None = None,
) -> Outcome:
    """Evaluate candidates until `study` holds `evaluations` trials, failed ones included.

    First `initial` random ones, spread over cost; then batches that `proposer` chooses from all trials so far. What is
    proposed depends on `seed` and the trials alone: killed at any moment and called again, it goes on as if it had not
    been.

    Args:
        evaluate: measures a candidate; what it raises is recorded as a failed trial and the search goes on
            (ImportError, KeyboardInterrupt and SystemExit pass through).
        study: where trials are kept; `study.problem` says what is sought.
        proposer: chooses what comes after the initial trials.
        evaluations: trials in the study at the end, those found in it at the start included.
        initial: how many of them are random.
        batch: how many are chosen at a time.
        seed: of everything random here.
        progress: called after each trial with (trials in the study, `evaluations`, the trial).
        stop_after: stop when the hypervolume has not grown for so many batches; None never.

    Raises:
        NothingFeasible: no candidate was found that can meet the constraints, by what is known before evaluating.
        ValueError: an evaluation lacks a metric that is an objective or constrained.
    """
    plan, evaluated = _Plan(study, proposer, initial, batch, seed), 0
    while len(study) < evaluations:
        # A batch that was cut short is finished first: as if it had not been cut.
        unfinished = plan.unfinished()
        if unfinished is None and stop_after is not None and _stalled(study, stop_after):
            return _end(f"the hypervolume has not grown for {stop_after} batches", evaluated)
        start, name, genotypes = unfinished or plan.proposed()
        if not genotypes:
            return _end(f"{proposer.name} found nothing left to propose", evaluated)
        for genotype in genotypes[: evaluations - len(study)]:
            if study.seen(genotype):  # by another process, since
                continue
            result = _evaluate(evaluate, study.problem.space.decode(genotype))
            trial = study.record(genotype, result, name, start)
            evaluated += 1
            if progress is not None:
                progress(len(study), evaluations, trial)
    return _end(f"{len(study)} evaluations are done", evaluated)


class _Plan:
    """Which genotypes come next; a batch that was cut short is taken up again before another is proposed."""

    def __init__(self, study: Study, proposer: Proposer, initial: int, batch: int, seed: int) -> None:
        self._study, self._proposer = study, proposer
        self._initial, self._batch, self._seed = initial, batch, seed
        self._unfinished = self._started()

    def unfinished(self) -> Batch | None:
        """What is left of a batch begun before; None where nothing is."""
        self._study.refresh()
        for start, name, genotypes in self._unfinished:
            if missing := [genotype for genotype in genotypes if not self._study.seen(genotype)]:
                return start, name, missing
        return None

    def proposed(self) -> Batch:
        """A new batch."""
        start = len(self._study)
        return start, self._proposer.name, self._propose(start)

    def _started(self) -> Iterator[Batch]:
        trials = self._study.trials
        if all(trial.proposer == INITIAL for trial in trials):
            yield 0, INITIAL, self._first()
        elif trials[-1].proposer == self._proposer.name:
            yield trials[-1].batch, self._proposer.name, self._propose(trials[-1].batch)

    def _first(self) -> list[Genotype]:
        problem = self._study.problem
        found = spread(problem, self._initial, self._rng(0)) if self._initial else []
        if self._initial and not found:
            raise NothingFeasible(hopeless(problem))
        return found

    def _propose(self, start: int) -> list[Genotype]:
        return self._proposer.propose(self._study.trials[:start], self._batch, self._rng(start))

    def _rng(self, start: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, start])


def _evaluate(evaluate: Callable[[Candidate], Evaluation], candidate: Candidate) -> Evaluation | Failure:
    try:
        return evaluate(candidate)
    except ImportError:  # no candidate's fault: a library is missing, or Ctrl-C came while one was loaded
        raise
    except Exception as error:
        _log.warning("evaluating %s failed: %s: %s", candidate.architecture.key, type(error).__name__, error)
        return Failure.of(error)


def _stalled(study: Study, batches: int) -> bool:
    """Whether the last `batches` batches of a proposer added no hypervolume."""
    trials = study.trials
    starts = sorted({trial.batch for trial in trials if trial.proposer != INITIAL})
    if len(starts) < batches:
        return False
    return not _volume(study.problem, trials) > _volume(study.problem, trials[: starts[-batches]], trials)


def _volume(problem: Problem, trials: Sequence[Trial], all_trials: Sequence[Trial] | None = None) -> float:
    """Hypervolume of the feasible `trials`, up to a little beyond the worst of `all_trials`."""
    scale = problem.loss_table([trial for trial in all_trials or trials if trial.feasible])
    if not len(scale):
        return 0.0
    reference = scale.max(axis=0) + 0.1 * np.ptp(scale, axis=0) + 1e-12
    return hypervolume(problem.loss_table([trial for trial in trials if trial.feasible]), reference)


def _end(reason: str, evaluated: int) -> Outcome:
    _log.info("search ends: %s", reason)
    return Outcome(reason, evaluated)
