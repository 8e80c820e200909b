"""The finished trials of a search, kept in an Optuna study."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from offramp.search.constraint import Constraint
from offramp.search.errors import StudyError
from offramp.search.evaluation import Evaluation, Failure
from offramp.search.journal import open_journal
from offramp.search.metric import METRICS
from offramp.search.pareto import hypervolume, non_dominated
from offramp.search.problem import Known, Leaving, Problem
from offramp.search.trial import Trial
from offramp.spaces import Candidate, Gene, Genotype, SearchSpace

_DESCRIPTION = "offramp"


class Study:
    """Finished trials in order, read once and kept in memory; a new one is on disk when `record` returns.

    Any Optuna tool reads what is written: parameters are genes with their values, constraints are named, and the
    genotype, the architecture, the metrics and what else was kept are user attributes.
    """

    def __init__(self, stored: optuna.Study, problem: Problem) -> None:
        self.problem = problem
        self._stored = stored
        self._distributions = {gene.name: _distribution(gene) for gene in problem.space.genes}
        self._trials: list[Trial] = []
        self._by_genotype: dict[Genotype, Trial] = {}
        self._read: set[int] = set()
        self.refresh()

    @classmethod
    def open(
        cls,
        where: str | Path,
        name: str,
        space: SearchSpace,
        objectives: Sequence[str],
        constraints: Sequence[str | Constraint] = (),
        known: Known | None = None,
        leaving: Leaving | None = None,
    ) -> Study:
        """The study `name` in the journal file `where`, or at an Optuna storage URL (`postgresql://...`).

        It is made if absent.

        Raises:
            StudyError: it was made for another space, other objectives or constraints; the file is no journal; or the
                storage cannot be opened.
            ValueError: an objective or a constraint that is not understood.
        """
        problem = Problem(space, objectives, constraints, known, leaving)
        directions = ["maximize" if METRICS[objective].maximise else "minimize" for objective in problem.objectives]
        with _quiet():
            storage = _storage(where)
            try:  # first, as Optuna's load_if_exists writes a line to the journal at every opening
                stored = optuna.load_study(study_name=name, storage=storage)
            except KeyError:
                stored = optuna.create_study(
                    study_name=name, storage=storage, directions=directions, load_if_exists=True
                )
            _describe(stored, problem, where)
        return cls(stored, problem)

    @property
    def name(self) -> str:
        """The study's name in its storage."""
        return self._stored.study_name

    @property
    def trials(self) -> list[Trial]:
        """Every finished or failed trial, in order."""
        return list(self._trials)

    def __len__(self) -> int:
        return len(self._trials)

    def seen(self, genotype: Sequence[int]) -> bool:
        """Whether this genotype's candidate was evaluated, or its evaluation failed."""
        return self.problem.canonical(tuple(genotype)) in self._by_genotype

    def record(
        self, genotype: Sequence[int], result: Evaluation | Failure, proposer: str, batch: int | None = None
    ) -> Trial:
        """Append what came of evaluating `genotype`: one record, on disk when this returns.

        Args:
            genotype: what was evaluated.
            result: its evaluation, or why there is none.
            proposer: who proposed it.
            batch: number of trials when it was proposed; all there are now if not given.

        Raises:
            ValueError: it was recorded before, or the evaluation lacks a metric that an objective or constraint needs.
        """
        genotype = self.problem.canonical(tuple(genotype))
        if genotype in self._by_genotype:
            raise ValueError(f"genotype {genotype} was evaluated before, in trial {self._by_genotype[genotype].number}")
        candidate = self.problem.space.decode(genotype)
        attributes = {
            "genotype": list(genotype),
            "candidate": candidate_key(candidate),
            "architecture": candidate.architecture.to_json(),
            "proposer": proposer,
            "batch": len(self) if batch is None else batch,
        }
        self._stored.add_trial(self._frozen(genotype, result, attributes))
        self.refresh()
        return self._by_genotype[genotype]

    def refresh(self) -> None:
        """Read what other processes have added to the same study since."""
        for frozen in self._stored.get_trials(deepcopy=False):
            if frozen.number not in self._read and frozen.state in (TrialState.COMPLETE, TrialState.FAIL):
                self._read.add(frozen.number)
                if "genotype" in frozen.user_attrs:
                    self._remember(_thaw(frozen, self.problem))

    def front(self) -> list[Trial]:
        """The feasible trials that no other dominates, ordered by the first objective."""
        feasible = [trial for trial in self._trials if trial.feasible]
        kept = [feasible[i] for i in non_dominated(self.problem.loss_table(feasible))]
        return sorted(kept, key=lambda trial: tuple(self.problem.losses(trial.metrics)))

    def hypervolume(self, reference: Mapping[str, float]) -> float:
        """Hypervolume of the front, in the product of the objectives' units.

        Args:
            reference: objective -> the worst value that still counts, in the objective's own unit and direction.
        """
        return hypervolume(self.problem.loss_table(self.front()), self.problem.losses(reference))

    def _remember(self, trial: Trial) -> None:
        self._trials.append(trial)
        self._by_genotype.setdefault(trial.genotype, trial)

    def _frozen(self, genotype: Genotype, result: Evaluation | Failure, attributes: dict[str, Any]) -> FrozenTrial:
        values = self.problem.space.values(genotype)
        params = {
            name: index if isinstance(distribution, IntDistribution) else values[name]
            for (name, distribution), index in zip(self._distributions.items(), genotype)
        }
        common = {"params": params, "distributions": self._distributions}
        if isinstance(result, Failure):
            attributes = attributes | {"failure": result.message}
            return optuna.trial.create_trial(state=TrialState.FAIL, user_attrs=attributes, **common)
        self.problem.losses(result.metrics)  # says what is missing
        metrics = {name: float(value) for name, value in result.metrics.items()}
        attributes = attributes | {"metrics": metrics, "extra": dict(result.extra)}
        return optuna.trial.create_trial(
            values=[metrics[name] for name in self.problem.objectives],
            constraints=self.problem.violations(metrics),
            user_attrs=attributes,
            **common,
        )


def candidate_key(candidate: Candidate) -> str:
    """A short name: the architecture's key, and the thresholds where the candidate has some."""
    thresholds = candidate.thresholds or ()
    return "-".join([candidate.architecture.key, *(f"{threshold:g}" for threshold in thresholds)])


def _thaw(frozen: FrozenTrial, problem: Problem) -> Trial:
    attributes = frozen.user_attrs
    genotype = tuple(attributes["genotype"])
    result: Evaluation | Failure
    if frozen.state == TrialState.FAIL:
        result, violation = Failure(attributes.get("failure", "")), float("inf")
    else:
        result = Evaluation(attributes["metrics"], attributes["extra"])
        violation = problem.violation(result.metrics)
    candidate, proposer, batch = problem.space.decode(genotype), attributes["proposer"], attributes["batch"]
    if attributes.get("candidate", candidate_key(candidate)) != candidate_key(candidate):
        raise StudyError(
            f"trial {frozen.number} was of another network than its genes stand for now in space "
            f"{problem.space.name!r}: the space has changed since; set it back, or begin another study"
        )
    return Trial(frozen.number, genotype, candidate, result, proposer, batch, violation)


def _distribution(gene: Gene) -> BaseDistribution:
    """The real choices where Optuna can keep them, their indices otherwise."""
    if all(isinstance(choice, str | int | float | bool) for choice in gene.choices):
        return CategoricalDistribution(gene.choices)
    return IntDistribution(0, len(gene.choices) - 1)


def _storage(where: str | Path) -> Any:
    if "://" in str(where):
        try:
            return optuna.storages.RDBStorage(str(where))
        except Exception as error:  # every database's driver raises its own
            reason = (str(error).splitlines() or [repr(error)])[0].replace(str(where), _shown(where))
            raise StudyError(f"the storage {_shown(where)} cannot be opened: {reason}") from None
    try:
        return open_journal(Path(where))
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{where} is no Optuna journal, or damaged in the middle ({error}); move it away") from error


def _shown(where: str | Path) -> str:
    """`where` for a message: a URL without its password, nor its options, which may hold one too."""
    if "://" not in str(where):
        return str(where)
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(str(where)).set(query={}).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return f"{str(where).partition('://')[0]}://..."


def _describe(stored: optuna.Study, problem: Problem, where: str | Path) -> None:
    """Write down what the study is about, or compare with what is written."""
    now = _description(problem)
    then = stored.user_attrs.get(_DESCRIPTION)
    if then is None:
        if stored.get_trials(deepcopy=False):
            raise StudyError(
                f"study {stored.study_name!r} in {_shown(where)} was not made by Offramp; take another name"
            )
        stored.set_metric_names(list(problem.objectives))
        stored.set_user_attr(_DESCRIPTION, now)
    elif then != now:
        raise StudyError(
            f"study {stored.study_name!r} in {_shown(where)} is about something else: {_difference(then, now)}; "
            "take another study name or file, or set back what was changed"
        )


def _description(problem: Problem) -> dict[str, Any]:
    space = problem.space
    found = {
        "space": space.name,
        "input": space.input,
        "classes": space.classes,
        "genes": {gene.name: gene.choices for gene in space.genes},
        # What a space holds beside its genes shows in these.
        "size": str(space.size()),
        "smallest": space.smallest().key,
        "largest": space.largest().key,
        "objectives": problem.objectives,
        "constraints": [str(constraint) for constraint in problem.constraints],
    }
    return json.loads(json.dumps(found))


def _difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    keys = [key for key in now if then.get(key) != now[key]]
    if "genes" in keys and isinstance(then.get("genes"), dict):
        return _gene_difference(then["genes"], now["genes"])
    return "; ".join(f"its {key} is {then.get(key)!r}, now {now[key]!r}" for key in keys)


def _gene_difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    told = [f"gene {name} has the choices {then.get(name)}, now {now.get(name)}" for name in names[:3]]
    more = [f"and {len(names) - 3} more genes"] if len(names) > 3 else []
    return "; ".join(told + more) or "its genes are in another order"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's line about a new study, and its warning that metric names are experimental."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
