"""What one evaluation of a search costs beside running its network: `python benchmarks/candidate_cost.py`.

Carries out one-shot evaluations of random candidates as a run does, with the real loop, evaluator and study, and splits
their time into building the network, estimating its batch norms, inference, policy, costs, surrogate, storage, and the
rest. The network's own work is batch norms and inference; everything else is overhead.

    OFFRAMP_DATA=... python benchmarks/candidate_cost.py [RECIPE ...]

Where a space has one backbone (`zniber`), the branches are scored together once for each choice of bits, and what the
first candidate pays is shared by `count`: read such figures with that in mind.

The supernet is untrained: that changes nothing about the work of its networks. The surrogate is timed apart, with as
many trials as the recipe's search has when its first and its last batch are proposed; their metrics are made up. Its
share is that of a whole search: the mean of both, times the number of batches, over the number of candidates.

Times are processor seconds of this process (one thread), as other programs may share the machine; compare shares.
Writes benchmarks/results/candidate_cost.json, or `--out FILE`, where rows of other recipes stay; `--profile` prints
where the overhead is spent.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from offramp.nn import Supernet
from offramp.pipeline import Run
from offramp.recipe import Recipe, find
from offramp.run_folder import write_json
from offramp.search import Evaluation, Study, analytic_costs, oneshot, scoring, search
from offramp.search.sampling import draw
from record import RESULTS, hardware, record

Row = dict[str, Any]
OWN = ("batch norms", "inference")
PARTS = ("building", *OWN, "policy", "costs", "storage", "rest")
# Few candidates of each; fewer images of CIFAR-10 would not tell its networks' share.
RECIPES = {"digits": 24, "nachos-cifar10": 4}


class Clock:
    """Processor seconds by part; a part inside another one counts for itself only."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[tuple[str, float]] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what runs inside."""
        self._stop()
        self._open.append((name, process_time()))
        try:
            yield
        finally:
            self._stop()
            self._open.pop()
            if self._open:
                self._open[-1] = (self._open[-1][0], process_time())

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, counted."""

        def counted(*arguments: Any, **options: Any) -> Any:
            with self.part(name):
                return function(*arguments, **options)

        return counted

    def _stop(self) -> None:
        if self._open:
            name, since = self._open[-1]
            self.seconds[name] += process_time() - since


def untrained(recipe: Recipe, folder: Path) -> Run:
    """A run in `folder` whose supernet has random weights."""
    run = Run(recipe, folder)
    run.supernet = Supernet(run.space, recipe.seed)
    run.supernet.normalise(run.task.mean, run.task.std)
    return run


def evaluated(run: Run, count: int) -> tuple[Clock, float]:
    """Processor seconds by part, and all seconds by the clock on the wall, of `count` random candidates."""
    clock, evaluate, study = Clock(), run.evaluator(), run.study
    evaluate(run.space.decode(study.problem.canonical((0,) * len(run.space.genes))))  # what torch sets up at first
    evaluate._tables.clear()
    if isinstance(evaluate, oneshot.OneShot):
        evaluate._said.clear()
    proposer = run._proposer("random", study)
    evaluate._thresholds = Counted(clock, evaluate._thresholds)
    with (
        patch.object(run.costs, "leaving", clock.timed("costs", run.costs.leaving)),
        patch.object(run.costs, "network", clock.timed("costs", run.costs.network)),
        patch.object(Supernet, "slice", clock.timed("building", Supernet.slice)),
        patch.object(oneshot, "reestimate", clock.timed("batch norms", oneshot.reestimate)),
        patch.object(oneshot, "score", clock.timed("inference", oneshot.score)),
        patch.object(scoring, "operate", clock.timed("policy", scoring.operate)),
        patch.object(Study, "record", clock.timed("storage", Study.record)),
    ):
        begin = perf_counter()
        with clock.part("rest"):
            search(evaluate, study, proposer, evaluations=count, initial=0, batch=count)
        return clock, perf_counter() - begin


class Counted:
    """A way to set thresholds, counted."""

    def __init__(self, clock: Clock, way: Any) -> None:
        self.keep, self.set = clock.timed("policy", way.keep), clock.timed("policy", way.set)


def surrogate_seconds(run: Run) -> dict[int, float]:
    """Number of trials -> processor seconds to propose a batch from as many, for the search's first and last batch."""
    settings, rng = run.recipe.search, np.random.default_rng(0)
    study = run._study("made-up")
    genotypes = draw(study.problem, settings.evaluations - settings.batch, rng, set())
    found = {}
    for genotype in genotypes:
        study.record(genotype, made_up(run, genotype, rng), "random", 0)
        if len(study) in (settings.initial, len(genotypes)):
            proposer = run._proposer(settings.proposer, study)
            begin = process_time()
            proposer.propose(study.trials, settings.batch, np.random.default_rng(len(study)))
            found[len(study)] = process_time() - begin
    return found


def made_up(run: Run, genotype: tuple[int, ...], rng: np.random.Generator) -> Evaluation:
    """An evaluation in the size of real ones: larger networks are better, and noise."""
    candidate = run.space.decode(genotype)
    known = analytic_costs(candidate)
    error = float(np.clip(2.0 - 0.12 * np.log(known["full_macs"]) + rng.normal(0, 0.01), 0.05, 0.95))
    exits = len(candidate.architecture.exits)
    means = {"mean_macs": known["full_macs"] * rng.uniform(0.4, 0.7)}
    metrics = {"error": error, "accuracy": 1 - error, **means, **known}
    return Evaluation(metrics, {"utilisation": [1 / exits] * exits})


def measured(name: str, count: int) -> Row:
    """One row: seconds and shares of a recipe's candidates."""
    recipe = Recipe.load(find(name))
    with tempfile.TemporaryDirectory() as folder:
        run = untrained(recipe, Path(folder))
        clock, wall = evaluated(run, count)
        proposing = surrogate_seconds(run)
    settings = recipe.search
    each = {part: clock.seconds[part] / count for part in PARTS}
    batches = -(-(settings.evaluations - settings.initial) // settings.batch)
    each["surrogate"] = float(np.mean(list(proposing.values()))) * batches / settings.evaluations
    total = sum(each.values())
    own = sum(each[part] for part in OWN)
    return {
        "name": name, "seed": recipe.seed, "split": "select", "n": run.evaluator()._select.labels.numel(),
        "statistics_images": min(settings.statistics_images, len(run.task.train)), "candidates": count,
        "seconds": total, "wall_seconds_without_surrogate": wall / count,
        "seconds_by_part": each, "share_by_part": {part: value / total for part, value in each.items()},
        "overhead": 1 - own / total, "surrogate": settings.surrogate,
        "seconds_a_batch_proposed": {str(trials): value for trials, value in proposing.items()},
        "candidates_a_batch": settings.batch,
    }  # fmt: skip


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=list(RECIPES))
    parser.add_argument("--candidates", type=int, help=f"default: {RECIPES}, else 8")
    parser.add_argument("--out", type=Path, default=RESULTS / "candidate_cost.json")
    parser.add_argument("--note", default="", help="on the machine, such as what else ran there")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)  # threads that wait would count as work
    profile = cProfile.Profile() if given.profile else None
    rows = []
    for name in given.recipes:
        count = given.candidates or RECIPES.get(name, 8)
        row = profile.runcall(measured, name, count) if profile else measured(name, count)
        rows.append(row)
        print(f"{name}: {row['seconds']:.3f} processor seconds a candidate, overhead {row['overhead']:.1%}", flush=True)
        for part, share in sorted(row["share_by_part"].items(), key=lambda item: -item[1]):
            print(f"  {part:12} {share:6.1%} {1e3 * row['seconds_by_part'][part]:9.2f} ms")
    if profile is not None:
        pstats.Stats(profile).sort_stats("tottime").print_stats(40)
        return
    stored = json.loads(given.out.read_text(encoding="utf-8"))["rows"] if given.out.exists() else []
    rows = [row for row in stored if row["name"] not in given.recipes] + rows
    result = record(
        "one-shot evaluations of random candidates, split into parts; shares of processor time",
        "none: no MACs are reported",
        rows,
        command=f"python benchmarks/candidate_cost.py {' '.join(row['name'] for row in rows)}",
        hardware=f"{hardware()}, one thread{'; ' + given.note if given.note else ''}",
        note="the supernet is untrained, and the surrogates' trials are made up: for timing only",
    )
    write_json(given.out, result)
    print(f"written: {given.out}\n{json.dumps({row['name']: round(row['overhead'], 4) for row in rows})}")


if __name__ == "__main__":
    main()
