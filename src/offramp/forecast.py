"""How long a run will take on this machine, from a few batches and candidates of its own, timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from offramp.architecture import Architecture, Precision
from offramp.deliver import trained_images
from offramp.nn import Supernet
from offramp.pipeline import Run
from offramp.progress import tell
from offramp.search.sampling import draw
from offramp.training import TrainSettings, pick_device, train_either, train_supernet

_DRAWN = 8
_TIMED = 3
"""Candidates that are evaluated."""
_LEAST_STEPS, _LEAST_SECONDS = 2, 4.0
"""How much of a training is timed, at least."""


@dataclass(frozen=True)
class Step:
    """A step of a run: what it does how often, and about how long that takes."""

    name: str
    work: str
    seconds: float


class _Enough(Exception):
    """A training has been watched for long enough."""


class _Watch:
    """A tracker that ends the training once it knows its rate."""

    def __init__(self) -> None:
        self._begun, self._first = time.perf_counter(), 0.0
        self._images = self._steps = self._all = 0

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """See `Tracker`."""
        if not count:  # a training that begins tells how far it is
            return
        now = time.perf_counter()
        self._all += count
        if not self._first:  # the first step makes what all others use
            self._first = now
            return
        self._images, self._steps = self._images + count, self._steps + 1
        if self._steps >= _LEAST_STEPS and now - self._first >= _LEAST_SECONDS:
            raise _Enough

    @property
    def rate(self) -> float:
        """Images per second, without the first step where there was another one."""
        now = time.perf_counter()
        return self._images / (now - self._first) if self._steps else self._all / (now - self._begun)


def forecast(run: Run) -> Iterator[Step]:
    """The steps of a new run, each once it was timed: some seconds each, and nothing is written.

    Weights are random, and which networks the search will choose is not known: one drawn at random stands for them.
    What the folder of a run holds already is not taken off.
    """
    recipe = run.recipe
    if run.needs_supernet:
        yield _supernet(run)
        run.supernet = Supernet(run.space, recipe.seed).to(pick_device())
        run.supernet.normalise(run.task.mean, run.task.std)
    named = [Architecture.load(budget.architecture) for budget in recipe.deliver.budgets if budget.architecture]
    typical = _typical(run) if recipe.search.evaluations else named[0]
    times = _Trainings(run)
    if recipe.search.evaluations:
        yield from _search(run, typical, times)
    drawn = (len(recipe.deliver.budgets) - len(named)) * [typical]
    networks = [*drawn, *named] * (1 + recipe.deliver.static_backbone + recipe.deliver.static_budget)
    networks += len(recipe.deliver.static_macs) * [typical]
    seconds = sum(times.of(network, recipe.train) for network in networks)
    seeds = len(recipe.deliver.seeds)
    yield Step("deliver", _trainings(len(networks) * seeds, times.images(networks[0], recipe.train)), seconds * seeds)


def _supernet(run: Run) -> Step:
    settings, images = run.recipe.supernet, len(run.task.train)
    alone = min(settings.largest_epochs, settings.epochs)
    work = f"{settings.epochs} epochs of {images:,} images"
    seconds = 0.0
    for epochs, largest in ((alone, alone), (settings.epochs - alone, 0)):
        if epochs:
            part = settings.model_copy(update={"epochs": epochs, "largest_epochs": largest})
            train = partial(train_supernet, run.space, run.task.without_test(), part, seed=run.recipe.seed)
            seconds += epochs * images / _rate(train)
    return Step("supernet", work, seconds)


def _search(run: Run, typical: Architecture, times: _Trainings) -> Iterator[Step]:
    settings, finetune = run.recipe.search, run.recipe.finetune
    most = settings.evaluations
    after_initial = max(0, most - settings.initial)  # the initial candidates are those of the search, and known
    counts = {"search": most}
    if settings.baseline and settings.proposer != "random" and after_initial:
        counts["random search, for comparison"] = after_initial
    if finetune is None:
        first, firsts, others = _evaluations(run)
    for name, count in counts.items():
        if finetune is None:
            new = min(firsts, count)
            yield Step(name, f"{count} candidates", new * first + (count - new) * others)
        else:
            work = _trainings(count, times.images(typical, finetune))
            yield Step(name, work, count * times.of(typical, finetune))
    again = min(settings.retrain * settings.batch, after_initial)
    if again:
        work, each = _trainings(again, times.images(typical, run.recipe.train)), times.of(typical, run.recipe.train)
        yield Step("the last candidates, trained longer", work, again * each)


def _trainings(count: int, images: int) -> str:
    return f"{count} x a training of {images:,} images"


def _evaluations(run: Run) -> tuple[float, int, float]:
    """Seconds of a first evaluation, how many there are of these, and seconds of any other one.

    In a space of one backbone, the first candidate at some bits pays for all that follow at these.
    """
    evaluate, taken = run.evaluator(), []
    candidates = [run.space.decode(g) for g in draw(run.problem, _TIMED, np.random.default_rng(run.recipe.seed))]
    if run.space.one_backbone:
        alike = {"precision": candidates[0].architecture.precision}
        candidates = [replace(c, architecture=c.architecture.model_copy(update=alike)) for c in candidates]
    for candidate in candidates:
        started = time.perf_counter()
        try:
            evaluate(candidate)
        except ImportError:
            raise
        except Exception as error:  # such as thresholds that cannot be repaired with weights that have learnt nothing
            tell(f"a candidate was timed, and not evaluated to its end: {error}")
        taken.append(time.perf_counter() - started)
    firsts = len(run.space.bits) if run.space.one_backbone else 1
    return taken[0], firsts, float(np.mean(taken[1:] or taken))


class _Trainings:
    """How long trainings take; each kind is timed once."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._rates: dict[tuple[str, TrainSettings], float] = {}

    def images(self, network: Architecture, settings: TrainSettings) -> int:
        """What a training takes, over all epochs."""
        return trained_images(network, settings, self._run.recipe.gates, len(self._run.task.train))

    def of(self, network: Architecture, settings: TrainSettings) -> float:
        """Seconds of a training, at the rate of the phase that trains all exits in float."""
        run, gates = self._run, self._run.recipe.gates
        key = (network.key, settings)
        if key not in self._rates:
            joint = settings.model_copy(update={"backbone_epochs": 0})
            exits = None if gates is None else gates.model_copy(update={"phases": (0, gates.epochs, 0)})
            more = {"supernet": run.supernet if settings.inherit else None, "seed": run.recipe.seed}
            self._rates[key] = _rate(partial(train_either, network, run.task.without_test(), joint, exits, **more))
        # At few bits a step takes about twice as long.
        unrounded = network.model_copy(update={"precision": Precision()})
        return (2 * self.images(network, settings) - self.images(unrounded, settings)) / self._rates[key]


def _typical(run: Run) -> Architecture:
    """The network of median MACs among some that can meet the constraints."""
    drawn = draw(run.problem, _DRAWN, np.random.default_rng(run.recipe.seed))
    drawn.sort(key=lambda genotype: run.problem.known(genotype).get("full_macs", 0.0))
    return run.space.decode(drawn[len(drawn) // 2]).architecture


def _rate(train: Callable[..., object]) -> float:
    """Images per second of a training."""
    watch = _Watch()
    with suppress(_Enough):
        train(track=watch)
    return watch.rate
