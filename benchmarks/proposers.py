"""Searches at equal evaluations on one supernet: `python benchmarks/proposers.py runs/zniber-cifar10 proposers-zniber`.

Random search, plain NSGA-II, and the surrogates (learning objectives, and learning where samples leave) each search
from the same initial candidates, seed by seed, by the run's recipe: its supernet, goal, objectives, constraints and
images. Told after a half and all of the evaluations: the hypervolume of the feasible ones (a share of the box between
the origin and the worst feasible trial of any search), and the best accuracy within the constraints, all on select.

A candidate is evaluated once, whoever proposes it; every trial is kept in RUN/proposers.journal, and what is there is
not evaluated again. Writes benchmarks/results/NAME.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter
from typing import Any

import numpy as np

from offramp.pipeline import Run
from offramp.progress import track
from offramp.run_folder import write_json
from offramp.search import Evaluation, Study, Trial, search
from offramp.search.pareto import hypervolume
from offramp.spaces import Candidate
from record import RESULTS, record

Row = dict[str, Any]
WAYS: dict[str, dict[str, Any]] = {
    "random": {"proposer": "random"},
    "nsga2": {"proposer": "nsga2"},
    "surrogate, objectives": {"proposer": "surrogate", "predict": "objectives"},
    "surrogate, shares": {"proposer": "surrogate", "predict": "shares"},
}


class Searches:
    """One study per way and seed, all in one journal."""

    def __init__(self, run: Run, evaluations: int, initial: int) -> None:
        self.run, self.evaluations, self.initial = run, evaluations, initial
        self.known: dict[Candidate, Evaluation] = {}
        self.evaluate = run.evaluator()

    def carry_out(self, way: str, seed: int) -> tuple[Study, float]:
        """The study, and the seconds that were spent on proposing in this process."""
        run, asked = self.run, self.run.recipe.search
        study = Study.open(
            run.folder.root / "proposers.journal", f"{way}, seed {seed}, {self.initial}", run.space, asked.objectives,
            asked.constraints, run.costs.known, run.costs.leaving,
        )  # fmt: skip
        self._remember(study.trials)
        settings = run.recipe.model_copy(update={"search": asked.model_copy(update=WAYS[way])})
        other, spent, begun = Run(settings, run.folder.root), 0.0, perf_counter()

        def measured(candidate: Candidate) -> Evaluation:
            nonlocal spent
            if candidate not in self.known:
                start = perf_counter()
                self.known[candidate] = self.evaluate(candidate)
                spent += perf_counter() - start
            return self.known[candidate]

        with track(f"{way}, seed {seed}", self.evaluations, len(study)) as bar:
            search(
                measured, study, other._proposer(settings.search.proposer, study), evaluations=self.evaluations,
                initial=self.initial, batch=asked.batch, seed=seed, progress=lambda *_: bar.advance(1),
            )  # fmt: skip
        return study, perf_counter() - begun - spent

    def _remember(self, trials: Sequence[Trial]) -> None:
        self.known |= {t.candidate: t.evaluation for t in trials if t.evaluation is not None}


def losses(study: Study, trials: Sequence[Trial]) -> np.ndarray:
    """(N, objectives) of the feasible ones."""
    names = study.problem.objectives
    return np.array([[t.metrics[name] for name in names] for t in trials if t.feasible]).reshape(-1, len(names))


def rows(studies: dict[tuple[str, int], tuple[Study, float]], evaluations: int, run: Run) -> Iterator[Row]:
    """Two per study: after a half of the evaluations, and after all."""
    worst = np.concatenate([losses(study, study.trials) for study, _ in studies.values()]).max(0) * 1.01
    images = min(run.recipe.search.images or len(run.task.select), len(run.task.select))
    for (way, seed), (study, seconds) in studies.items():
        for count in (evaluations // 2, evaluations):
            trials = study.trials[:count]
            feasible = [t for t in trials if t.feasible]
            best = max(feasible, key=lambda t: t.metrics["accuracy"], default=None)
            yield {
                "name": way, "seed": seed, "split": "select", "n": images, "evaluations": count,
                "feasible": len(feasible), "accuracy": best.metrics["accuracy"] if best else None,
                "mean_macs": best.metrics["mean_macs"] if best else None, "mac_rule": run.recipe.policy.mac_rule,
                "hypervolume": hypervolume(losses(study, trials), worst) / float(np.prod(worst)),
                "proposing_seconds": round(seconds, 1) if count == evaluations else None,
            }  # fmt: skip


def summary(found: Sequence[Row], evaluations: int) -> Iterator[str]:
    """A line per way: hypervolume over seeds, after a half and all."""
    for way in WAYS:
        told = []
        for count in (evaluations // 2, evaluations):
            values = [row["hypervolume"] for row in found if (row["name"], row["evaluations"]) == (way, count)]
            told.append(f"{mean(values):.4f}" + (f" +- {stdev(values):.4f}" if len(values) > 1 else ""))
        yield f"{way:24} hypervolume {told[0]} after {evaluations // 2}, {told[1]} after {evaluations} evaluations"


def main() -> None:
    """Search, write the file, print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run's folder, with its supernet")
    parser.add_argument("name", help="writes benchmarks/results/NAME.json")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--evaluations", type=int, default=96)
    parser.add_argument("--initial", type=int, default=32)
    given = parser.parse_args()
    run = Run.stored(given.run)
    if not run.folder.supernet.exists():
        parser.error(f"{run.folder.supernet} is not there; searches need a run with its supernet")
    searches = Searches(run, given.evaluations, given.initial)
    studies = {(way, seed): searches.carry_out(way, seed) for seed in range(given.seeds) for way in WAYS}
    found = list(rows(studies, given.evaluations, run))
    result = record(
        "searches at equal evaluations on one supernet, from the same initial candidates",
        run.recipe.policy.mac_rule, found, data=run.recipe.data.name, space=run.recipe.space.name,
        objectives=run.recipe.search.objectives, constraints=run.recipe.search.constraints,
        device=run.costs.device, supernet_epochs=run.recipe.supernet.epochs,
    )  # fmt: skip
    path = RESULTS / f"{given.name}.json"
    write_json(path, result)
    print("\n".join((*summary(found, given.evaluations), f"written: {path}")))


if __name__ == "__main__":
    main()
