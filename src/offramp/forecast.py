"""How long a run will take on this machine, from a few batches and candidates of its own, timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from offramp.architecture import Architecture
from offramp.deliver import trained_images
from offramp.nn import Supernet
from offramp.pipeline import Run
from offramp.progress import tell
from offramp.search.sampling import draw
from offramp.spaces import Candidate
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
    """A tracker that ends the training once it knows its rate, in images per second."""

    rate: float

    def __init__(self) -> None:
        self._images, self._steps, self._first = 0, 0, 0.0

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """See `Tracker`."""
        now = time.perf_counter()
        if not count:  # a training that begins tells how far it is
            return
        if not self._first:  # the first step makes what all others use
            self._first = now
            return
        self._images, self._steps = self._images + count, self._steps + 1
        self.rate = self._images / (now - self._first)
        if self._steps >= _LEAST_STEPS and now - self._first >= _LEAST_SECONDS:
            raise _Enough


def forecast(run: Run) -> Iterator[Step]:
    """The steps of a new run, each once it was timed: some seconds each, and nothing is written.

    Weights are random, and which networks the search will choose is not known: networks drawn at random stand for them.
    What the folder of a run holds already is not taken off.
    """
    if run.needs_supernet:
        yield _supernet(run)
        run.supernet = Supernet(run.space, run.recipe.seed).to(pick_device())
        run.supernet.normalise(run.task.mean, run.task.std)
    network = _typical(run)
    if run.recipe.search.evaluations:
        yield from _search(run, network)
    seconds, work = _training(run, network, run.recipe.train)
    wanted = run.recipe.deliver
    budgets, seeds = len(wanted.budgets), len(wanted.seeds)
    count = (budgets * (2 if wanted.static_backbone else 1) + len(wanted.static_macs)) * seeds
    yield Step("deliver", f"{count} x {work}", count * seconds)


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


def _search(run: Run, network: Candidate) -> Iterator[Step]:
    settings, finetune = run.recipe.search, run.recipe.finetune
    count = settings.evaluations
    if finetune is None:
        first, others = _evaluations(run, count)
        seconds, work = first + (count - 1) * others, f"{count} candidates, {others:.2g} s each"
    else:
        each, training = _training(run, network, finetune)
        seconds, work = count * each, f"{count} x {training}"
    yield Step("search", work, seconds)
    if settings.baseline and settings.proposer != "random":
        yield Step("random search, for comparison", work, seconds)
    if settings.retrain:
        again = settings.retrain * settings.batch
        each, training = _training(run, network, run.recipe.train)
        yield Step("the last candidates, trained longer", f"{again} x {training}", again * each)


def _evaluations(run: Run, count: int) -> tuple[float, float]:
    """Seconds of the first evaluation, which may make what the others share, and of any other."""
    evaluate, taken = run.evaluator(), []
    for genotype in draw(run.problem, min(_TIMED, count), np.random.default_rng(run.recipe.seed)):
        started = time.perf_counter()
        try:
            evaluate(run.space.decode(genotype))
        except ValueError as error:  # thresholds that cannot be repaired with weights that have learnt nothing
            tell(f"a candidate was timed, and not evaluated to its end: {error}")
        taken.append(time.perf_counter() - started)
    return taken[0], float(np.mean(taken[1:] or taken))


def _training(run: Run, network: Candidate, settings: TrainSettings) -> tuple[float, str]:
    """Seconds of one network's training, at the rate of the phase that trains all exits; and what it is."""
    architecture, gates = network.architecture, run.recipe.gates
    images = trained_images(architecture, settings, gates, len(run.task.train))
    joint = settings.model_copy(update={"backbone_epochs": 0})
    exits = None if gates is None else gates.model_copy(update={"phases": (0, gates.epochs, 0)})
    supernet = run.supernet if settings.inherit else None
    more: dict[str, Any] = {"supernet": supernet, "seed": run.recipe.seed}
    rate = _rate(partial(train_either, architecture, run.task.without_test(), joint, exits, **more))
    return images / rate, f"a training of {images:,} images"


def _typical(run: Run) -> Candidate:
    """The candidate of median MACs among some that can meet the constraints, or the first that a budget names."""
    for budget in run.recipe.deliver.budgets:
        if budget.architecture:
            return Candidate(Architecture.load(budget.architecture))
    drawn = draw(run.problem, _DRAWN, np.random.default_rng(run.recipe.seed))
    drawn.sort(key=lambda genotype: run.problem.known(genotype).get("full_macs", 0.0))
    return run.space.decode(drawn[len(drawn) // 2])


def _rate(train: Callable[..., object]) -> float:
    """Images per second of a training."""
    watch = _Watch()
    try:
        train(track=watch)
    except _Enough:
        return watch.rate
    return getattr(watch, "rate", float("inf"))  # it was over within a step
