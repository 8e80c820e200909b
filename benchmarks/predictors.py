"""What a search's surrogates should learn: mean costs themselves, or where samples leave.

    python benchmarks/predictors.py [RUN ...]    a folder of `offramp run` each: its random trials, or else all of them

Networks are drawn at random; surrogates are fitted to some of them and rank the rest. Told is Kendall's tau between
predicted and true values, of the error and of metrics that are means over samples, once learned as such ("objectives")
and once computed from predicted shares and exact costs ("shares"). Before the runs come made-up networks of the space
`zniber` (up to five early exits, width 0.25) on `quad-edge-tpu`, whose exits are better the deeper they are and the
more bits they have, once with the threshold gene and once with thresholds tuned for a bound on energy x latency.

Writes benchmarks/results/predictors.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from offramp.architecture import Architecture
from offramp.pipeline import Run
from offramp.policy import Goal, Policy, ScoreTable, operate, tune
from offramp.run_folder import write_json
from offramp.search import Evaluation, Problem, Trial
from offramp.search.costs import Costs
from offramp.search.proposers.surrogate import PREDICT, Predictor
from offramp.search.sampling import draw
from offramp.search.surrogates import tau
from offramp.spaces import Candidate, space
from record import RESULTS, record

SIZES = (16, 32, 64)
REPEATS = 5
UNSEEN = 80
SAMPLES, CLASSES = 300, 10
BOUND = 0.3  # J x cycles


def scores(architecture: Architecture) -> ScoreTable:
    """Made-up scores: a sample is right, and surely so, where an exit is stronger than the sample is hard."""
    rng = np.random.default_rng(int(architecture.key, 16) % 2**32)
    bits, stages = architecture.precision, len(architecture.stages)
    strength = []
    for position in architecture.exits:
        branch = architecture.stages[position].exit
        depth = (position + 1) / stages
        lost = 1.2 / bits.backbone_weights + 0.6 / bits.branch_weights
        strength.append(4.5 * depth**0.6 + (0.4 if branch and branch.hidden else 0.0) - lost)
    hard = np.random.default_rng(0).gamma(2.0, 1.0, SAMPLES)
    margin = np.array(strength) - hard[:, None] + rng.normal(0, 0.7, (SAMPLES, len(strength)))
    labels = np.random.default_rng(1).integers(0, CLASSES, SAMPLES)
    logits = rng.normal(0, 0.5, (SAMPLES, len(strength), CLASSES))
    logits[np.arange(SAMPLES), :, labels] += 1.5 * margin
    return ScoreTable(logits.astype(np.float32), labels)


def evaluate(candidate: Candidate, costs: Costs, tuned: bool) -> Evaluation:
    """What an evaluator would measure of the made-up network."""
    table, leaving = scores(candidate.architecture), costs.leaving(candidate.architecture)
    policy = Policy("max_probability", candidate.thresholds or ())
    if tuned:
        goal = Goal.accuracy_at_cost(BOUND)
        policy = tune(table, leaving["et_avg"], goal, measures="max_probability", restarts=0).policy
    found = operate(policy, table, leaving["mean_macs"])
    means = {name: operate(policy, table, values).mean_cost for name, values in leaving.items()}
    return Evaluation({"error": 1 - found.accuracy, **means}, {"utilisation": list(found.utilisation)})


def made_up(tuned: bool) -> tuple[Problem, list[Trial]]:
    """A problem, and random trials of it."""
    costs = Costs(device="quad-edge-tpu")
    zniber = space("zniber", (3, 32, 32), CLASSES, width=0.25, exits=(0, 2, 4, 6, 8))
    problem = Problem(zniber, ("error", "et_avg", "mean_macs"), (), costs.known, costs.leaving)
    trials = []
    for number, genotype in enumerate(draw(problem, max(SIZES) + UNSEEN, np.random.default_rng(0))):
        candidate = zniber.decode(genotype)
        trials.append(Trial(number, genotype, candidate, evaluate(candidate, costs, tuned), "random", 0, 0.0))
    return problem, trials


def found_in(folder: str) -> tuple[Problem, list[Trial]]:
    """The problem of a run and its random trials, where it has enough, else all of its search."""
    run = Run.stored(folder)
    for study in (run.baseline, run.study):
        trials = [trial for trial in study.trials if trial.evaluation is not None]
        if len(trials) > 2 * SIZES[0]:
            break
    return study.problem, trials


def rows(name: str, problem: Problem, trials: Sequence[Trial], model: str) -> Iterator[dict[str, Any]]:
    """For each number of trials and each repetition, tau of every metric by both ways."""
    for size in SIZES:
        if size + SIZES[0] > len(trials):
            break
        for repeat in range(REPEATS):
            order = np.random.default_rng(repeat).permutation(len(trials))
            seen = [trials[i] for i in order[:size]]
            unseen = [trials[i] for i in order[size : size + UNSEEN]]
            true = {metric: np.array([t.metrics[metric] for t in unseen]) for metric in problem.objectives}
            for way in PREDICT:
                started = time.process_time()
                predict = Predictor(problem, seen, model, 0, way == "shares")
                values = predict.values([trial.genotype for trial in unseen])
                seconds = time.process_time() - started
                for metric in problem.objectives:
                    yield {
                        "name": name, "predict": way, "model": model, "metric": metric, "trials": size,
                        "n": len(unseen), "seed": repeat, "tau": tau(values[metric], true[metric]),
                        "seconds": round(seconds, 3),
                    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--model", default="gp")
    parser.add_argument("--out", type=Path, default=RESULTS / "predictors.json")
    given = parser.parse_args()
    found: list[dict[str, Any]] = []
    sources = [("made up, threshold gene", made_up(False)), ("made up, tuned", made_up(True))]
    sources += [(Path(folder).name, found_in(folder)) for folder in given.runs]
    for name, (problem, trials) in sources:
        mine = list(rows(name, problem, trials, given.model))
        found += mine
        for metric in problem.objectives:
            for size in sorted({row["trials"] for row in mine}):
                cells = []
                for way in PREDICT:
                    these = [r["tau"] for r in mine if (r["metric"], r["trials"], r["predict"]) == (metric, size, way)]
                    cells.append(f"{way} {np.mean(these):+.3f} ({np.std(these):.3f})")
                print(f"{name}: {metric} from {size} trials: {', '.join(cells)}", flush=True)
    write_json(given.out, record(__doc__.splitlines()[0], "executed", found))


if __name__ == "__main__":
    main()
