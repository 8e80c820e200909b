"""Every step of a run, each of which goes on from what the run's folder already holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from offramp.architecture import Architecture
from offramp.choice import Choice
from offramp.claim import (
    claim_data,
    claim_device,
    claim_networks,
    claim_recipe,
    claim_weights,
    lasting,
    rooted,
)
from offramp.data import Task, task
from offramp.deliver import costs_of, deliver, thresholds_of
from offramp.front import front
from offramp.nn import Supernet
from offramp.preflight import doubtful, impossible
from offramp.progress import Tracker, tell, track
from offramp.recipe import Recipe, RecipeError, find
from offramp.run_folder import RunFolder, identity, load_weights, save_weights, write_json
from offramp.search import (
    Evaluation,
    Problem,
    Proposer,
    Study,
    Trial,
    proposer,
    search,
)
from offramp.search.costs import Costs
from offramp.search.finetune import FineTune
from offramp.search.oneshot import OneShot
from offramp.search.proposers.listed import ListedProposer, last_batches
from offramp.spaces import Candidate, SearchSpace, options_of, space
from offramp.training import TrainSettings, pick_device, train_supernet

_SAMPLES = 30


def run(recipe: str | Path | Recipe, out: str | Path, overrides: Sequence[str] = ()) -> Run:
    """Carry out `recipe` in the folder `out`; called again on the same folder, it goes on where it stopped.

    Raises:
        RecipeError: the recipe has mistakes, or `out` holds the run of another one.
    """
    made = Run.open(recipe, out, overrides)
    made.carry_out()
    return made


def check(recipe: Recipe) -> Run:
    """A run of the recipe in no folder, seen to be able to give what it asks for; see `Run.check`."""
    run = Run(rooted(recipe), "")
    run.check()
    return run


class Run:
    """A recipe, carried out in a folder; every step is computed once and found there afterwards."""

    def __init__(self, recipe: Recipe, out: str | Path) -> None:
        self.recipe, self.folder = recipe, RunFolder(out)

    @classmethod
    def open(cls, recipe: str | Path | Recipe, out: str | Path, overrides: Sequence[str] = ()) -> Run:
        """A run in `out`, new or continued; see `run`."""
        folder = RunFolder(out)
        new = not (folder.supernet.exists() or folder.networks.exists())  # later, files that it names may be gone
        if isinstance(recipe, Recipe):
            checked = recipe.overridden(overrides) if overrides else recipe
        else:
            checked = Recipe.load(find(str(recipe)), overrides, files=new)
        made = cls(rooted(checked), out)
        with made.folder.held():  # or the recipe of a run that is at work there would be replaced
            claim_recipe(made.recipe, made.folder)
            claim_networks(made.recipe, made.folder)
            claim_device(made.recipe, made.folder)
        return made

    @classmethod
    def stored(cls, out: str | Path) -> Run:
        """The run that the folder `out` holds.

        Raises:
            FileNotFoundError: it holds none.
        """
        recipe = RunFolder(out).recipe
        if not recipe.is_file():
            hint = "a delivered network needs its run here, so give it as DIR/chosen/NAME"
            raise FileNotFoundError(f"{recipe} is not there, so {out} is not the folder of a run; {hint}")
        return cls(Recipe.load(recipe, stored=True), out)

    def carry_out(self) -> None:
        """All steps, in order.

        Raises:
            RecipeError: it cannot be done with these data, or the folder has another run's.
            RuntimeError: another process is at work in the folder.
        """
        with self.folder.held():
            self._carry_out()

    def _carry_out(self) -> None:
        steps = ["search", "baseline", *(["retrain"] if self.recipe.search.retrain else []), "deliver", "report"]
        self.folder.log("start", steps=["supernet", *steps] if self.needs_supernet else steps)
        begun = self.folder.begun
        try:
            claim_data(self.task, self.folder)
            self.check(searched=len(self.study) > 0, trained=self.folder.supernet.exists())
        except Exception:
            if not begun:  # so that the folder takes the corrected recipe
                self.folder.forget()
            raise
        if self.needs_supernet:
            _ = self.supernet
        self.search()
        self.retrain()
        self.write_front()
        self.deliver()
        self.report()
        self.folder.log("end")

    def check(self, searched: bool = False, trained: bool = False) -> None:
        """See that the images, the space and the device can give what the recipe asks for; nothing is written.

        `searched`: whether the search is past what is asked of the space here. `trained`: whether the supernet is
        there, so that what it began with is no longer needed.

        Raises:
            RecipeError: they cannot, and why.
        """
        if not trained:
            claim_weights(self.recipe, self.task, self.space)
        doubts = () if searched else (*self.task.notes, *doubtful(self.recipe, self.task, self.space))
        searched = searched or not self.recipe.search.evaluations
        named = {b.name: self.choice.named(b) for b in self.recipe.deliver.budgets if b.architecture}
        found = impossible(
            self.recipe, self.task, self.problem, self.costs, named, supernet=self.needs_supernet, searched=searched
        )
        if found:
            raise RecipeError(f"this cannot be done with {self.task.name} and space {self.space.name!r}", found)
        for line in doubts:
            tell(line)
        some = () if searched else self._samples()
        offered = (*self.space.cover(), self.space.smallest(), self.space.largest())
        for architecture in (*named.values(), *(offered if self.recipe.search.evaluations else ()), *some):
            self.costs.leaving(architecture)  # a layer that the device's table lacks ends the run before it has begun

    @cached_property
    def task(self) -> Task:
        """The data, in four splits."""
        d = self.recipe.data
        return task(
            d.name, d.root, seed=d.seed, select=d.select, calibrate=d.calibrate, test=d.test,
            limit=d.limit, size=d.size, flip=d.flip, pad=d.pad, coarse=d.coarse, extra=d.extra, verify=d.verify,
        )  # fmt: skip

    @cached_property
    def space(self) -> SearchSpace:
        """The search space, for the data's image shape and classes."""
        return space(self.recipe.space.name, self.task.input, len(self.task.classes), **self.recipe.space.options)

    @cached_property
    def costs(self) -> Costs:
        """What candidates cost, on the recipe's device where it names one."""
        return costs_of(self.recipe)

    @cached_property
    def choice(self) -> Choice:
        """What chooses the networks to deliver."""
        return Choice(self.recipe, self.task, self.space, self.costs, self.folder)

    @cached_property
    def problem(self) -> Problem:
        """What the search is about."""
        search, costs = self.recipe.search, self.costs
        return Problem(self.space, search.objectives, search.constraints, costs.known, costs.leaving)

    @property
    def needs_supernet(self) -> bool:
        """Whether candidates are slices of it, or a training starts from its weights."""
        finetune, searches = self.recipe.finetune, self.recipe.search.evaluations > 0
        return (searches and (finetune is None or finetune.inherit)) or self.recipe.train.inherit

    @cached_property
    def supernet_identity(self) -> str:
        """What the supernet's weights depend on."""
        section = self.recipe.space
        options = options_of(section.name, section.options).model_dump(mode="json")
        settings = self.recipe.supernet.model_dump()
        return identity(section.name, options, settings, self.recipe.seed, self.task.fingerprint())

    @cached_property
    def supernet(self) -> Supernet:
        """The trained supernet."""
        path, settings = self.folder.supernet, self.recipe.supernet
        if path.exists():
            supernet = Supernet(self.space, self.recipe.seed)
            load_weights(path, supernet, "delete it, and the run trains it again")
            return supernet.to(pick_device())
        started = time.monotonic()
        total = settings.epochs * (len(self.task.train) // settings.batch * settings.batch)
        with track("supernet", total, unit="images") as bar:
            supernet = train_supernet(
                self.space, self.task.without_test(), settings,
                seed=self.recipe.seed, identity=self.supernet_identity, checkpoint=self.folder.checkpoint, track=bar,
            )  # fmt: skip
        save_weights(path, supernet)
        self.folder.checkpoint.unlink(missing_ok=True)
        self.folder.log("supernet", seconds=round(time.monotonic() - started, 1), epochs=settings.epochs)
        return supernet

    @cached_property
    def study(self) -> Study:
        """The search's trials."""
        return self._study("search")

    @cached_property
    def baseline(self) -> Study:
        """As many trials of random candidates, by which the search is judged."""
        return self._study("random")

    def search(self) -> None:
        """Evaluate candidates until the study has as many as the recipe says; then the random baseline."""
        settings = self.recipe.search
        self._search("search", self.study, settings.proposer, "search")
        if settings.baseline and settings.proposer != "random":
            self._search("random", self.baseline, "random", "random search, for comparison")

    @cached_property
    def retrained(self) -> Study:
        """The candidates of the search's last batches, trained by the schedule of the final networks."""
        return self._study("retrained")

    def retrain(self) -> None:
        """Train the candidates of the search's last batches by [train] and score them on select, where wanted."""
        wanted = last_batches(self.study.trials, self.recipe.search.retrain)
        missing = [genotype for genotype in wanted if not self.retrained.seen(genotype)]
        if not missing:
            return
        started, total = time.monotonic(), len(self.retrained) + len(missing)
        with track("the last candidates, trained longer", total, len(self.retrained), unit="networks") as bar:
            outcome = search(
                self.evaluator(self.recipe.train), self.retrained, ListedProposer(wanted), evaluations=total,
                initial=0, batch=len(wanted), seed=self.recipe.seed, progress=_shown(bar),
            )  # fmt: skip
        seconds = round(time.monotonic() - started, 1)
        self.folder.log("retrained", evaluated=outcome.evaluated, seconds=seconds)

    def evaluator(self, schedule: TrainSettings | None = None) -> OneShot | FineTune:
        """What measures candidates; it sees the train and select splits only.

        `schedule`: candidates are trained by it, whatever the recipe's evaluator is.
        """
        policy, settings, finetune = self.recipe.policy, self.recipe.search, schedule or self.recipe.finetune
        data = self.task.without_test()
        thresholds = thresholds_of(self.recipe, policy.measures, restarts=0, must_hold=True)
        common: dict[str, Any] = {"costs": self.costs, "metric": policy.metric, "images": settings.images}
        if finetune is None:
            return OneShot(self.supernet, data, thresholds, statistics_images=settings.statistics_images, **common)
        supernet = self.supernet if finetune.inherit else None
        return FineTune(
            data, finetune, thresholds, supernet=supernet, seed=self.recipe.seed, gates=self.recipe.gates, **common
        )

    def write_front(self) -> None:
        """Write `front.json`: every trial, and which of them make the front."""
        studies = {"search": self.study}
        studies |= {"random": self.baseline} if self.recipe.search.baseline else {}
        studies |= {"retrained": self.retrained} if self.recipe.search.retrain else {}
        write_json(self.folder.front, front(self.recipe, self.task, self.space, self.costs.device, studies))

    def deliver(self) -> None:
        """Train, tune, test and export the chosen networks, and the static ones beside them, seed by seed.

        Networks that differ in bits or budgets alone are trained in float once for all.
        """
        chosen = self.choice.of(self.study, self.retrained if self.recipe.search.retrain else None)
        for i, seed in enumerate(self.recipe.deliver.seeds):
            for name, candidate, budget in chosen:
                self._deliver(candidate, name if i == 0 else f"{name}-seed{seed}", seed, i == 0, budget)
        for checkpoint in self.folder.trainings():
            checkpoint.unlink()

    def report(self) -> None:
        """Write `report.html`."""
        from offramp.report import write_report

        write_report(self.folder.root, self.task)

    def _samples(self) -> Iterator[Architecture]:
        """Some of the networks that the search may ask a device's table for: middle widths are in no extreme one."""
        if self.costs.device is not None and not self.costs.npu:
            with track(f"layers on {self.costs.device}", _SAMPLES, unit="networks") as bar:
                for seed in range(_SAMPLES):
                    yield self.space.sample(seed)
                    bar.advance(1)

    def _study(self, name: str) -> Study:
        settings = self.recipe.search
        where = settings.storage or self.folder.journal
        if settings.storage is not None:  # other runs' studies may be there, whose trials were measured otherwise
            name = f"{name}-{identity(lasting(self.recipe), self.task.fingerprint())}"
        known, leaving = self.costs.known, self.costs.leaving
        return Study.open(where, name, self.space, settings.objectives, settings.constraints, known, leaving)

    def _search(self, name: str, study: Study, who: str, title: str) -> None:
        settings = self.recipe.search
        if len(study) >= settings.evaluations:
            return
        evaluate = self.evaluator()
        known = {t.candidate: t.evaluation for t in self.study.trials if t.evaluation is not None}

        def once(candidate: Candidate) -> Evaluation:
            return known.get(candidate) or evaluate(candidate)

        started = time.monotonic()
        with track(title, settings.evaluations, len(study), unit="networks") as bar:
            outcome = search(
                once, study, self._proposer(who, study), evaluations=settings.evaluations, initial=settings.initial,
                batch=settings.batch, seed=self.recipe.seed, progress=_shown(bar), stop_after=settings.stop_after,
            )  # fmt: skip
        seconds = round(time.monotonic() - started, 1)
        self.folder.log(name, reason=outcome.reason, evaluated=outcome.evaluated, seconds=seconds)

    def _proposer(self, name: str, study: Study) -> Proposer:
        if name != "surrogate":
            return proposer(name, study.problem)
        settings = self.recipe.search

        def report(batch: Mapping[str, Any]) -> None:
            self.folder.log("surrogates", **batch)

        same = ("domination", "predict", "population", "generations", "crossover")
        options = {"model": settings.surrogate} | {key: getattr(settings, key) for key in same}
        return proposer(name, study.problem, **options, report=report)

    def _deliver(
        self, candidate: Candidate, name: str, seed: int, export: bool, budget: tuple[str, float] | None
    ) -> None:
        folder = self.folder.chosen(name)
        if (folder / "metrics.json").exists():
            self._keep(folder, candidate)
            return
        supernet = self.supernet if self.recipe.train.inherit else None
        metrics = deliver(
            candidate, folder, self.recipe, self.task,
            supernet=supernet, seed=seed, export=export, budget=budget, shared=self.folder.root,
        )  # fmt: skip
        found = {key: metrics[key] for key in ("test_accuracy", "mean_macs", "mac_rule", "train_seconds", "seed")}
        self.folder.log("delivered", name=name, **found)

    def _keep(self, folder: Path, candidate: Candidate) -> None:
        """Tell where a delivered network is no longer what the search would choose; it is never thrown away."""
        stored, chosen = Architecture.load(folder / "architecture.json"), candidate.architecture
        if set(stored.exits) <= set(chosen.exits) and chosen.with_exits(stored.exits) == stored:
            return
        self.folder.log("kept", name=folder.name, delivered=stored.key, chosen=chosen.key)
        tell(
            f"{folder}: the search has found a better network since this one was trained; "
            "it stays until you move the folder away, then the better one is trained"
        )


def _shown(bar: Tracker) -> Callable[[int, int, Trial], None]:
    """Tells `bar` of every trial."""

    def progress(_done: int, _total: int, trial: Trial) -> None:
        metrics = trial.metrics
        note = f"{metrics['accuracy']:.1%} at {metrics['mean_macs'] / 1e6:.2f} MMACs" if metrics else "failed"
        bar.advance(1, note)

    return progress
