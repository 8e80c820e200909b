"""Fine-tune and one-shot evaluation side by side: `python benchmarks/evaluators.py RUN NAME`.

Takes a run's folder with its supernet and its search, draws candidates from the search's trials, and evaluates each by
both evaluators in turn, under the recipe's goal, measures, MAC rule and select images. Tells what a candidate costs
under each, and Kendall's tau between their rankings. With `--seeds 2` every candidate is fine-tuned twice, and tau
between the two is what noise alone leaves.

    python benchmarks/evaluators.py runs/cifar10-2.4M evaluators-cifar10 --set finetune.joint_epochs=10
    python benchmarks/evaluators.py runs/nachos-cifar10 evaluators-nachos --set finetune.inherit=false

The second is NACHOS's way but for its ImageNet weights: nothing is inherited from the supernet. Candidates with gates
are trained by the recipe's [gates], whatever [finetune] says.

Every evaluation is kept in RUN/evaluators.jsonl as soon as it is done, and one found there (of the same candidate,
evaluator, recipe and seed) is not done again. Writes benchmarks/results/NAME.json, or `--out FILE`.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau

from offramp.pipeline import Run
from offramp.recipe import Recipe
from offramp.run_folder import identity, write_json
from offramp.spaces import Candidate
from record import RESULTS, hardware, record

Row = dict[str, Any]
Evaluators = dict[tuple[str, int], Any]


def evaluators(run: Run, seeds: int) -> Evaluators:
    """(name, seed) -> evaluator; all on the same images. One-shot has no seed of its own: it has the run's."""
    slices = run.recipe.model_copy(update={"finetune": None})
    tuned = [run.recipe.model_copy(update={"seed": run.recipe.seed + i}) for i in range(seeds)]
    wanted = [("one-shot", slices), *(("fine-tune", recipe) for recipe in tuned)]
    made: Evaluators = {}
    for name, recipe in wanted:
        other = Run(recipe, run.folder.root)
        other.task, other.supernet = run.task, run.supernet  # loaded once, and of the run's own seed
        made[name, recipe.seed] = other.evaluator()
    return made


def drawn(run: Run, count: int, seed: int) -> list[Candidate]:
    """`count` of the search's candidates, one per architecture; trials of a search, so better than random ones."""
    found = {trial.candidate.architecture: trial.candidate for trial in run.study.trials if trial.evaluation}
    order = np.random.default_rng(seed).permutation(len(found))[:count]
    return [list(found.values())[i] for i in order]


def measured(run: Run, candidates: list[Candidate], made: Evaluators) -> Iterator[Row]:
    """One row per candidate and evaluator, candidate by candidate, so that a busy moment hits all evaluators alike."""
    kept = run.folder.root / "evaluators.jsonl"
    done = (
        {row["made_of"]: row for row in map(json.loads, kept.read_text(encoding="utf-8").splitlines())}
        if kept.exists()
        else {}
    )
    images = min(run.recipe.search.images or len(run.task.select), len(run.task.select))
    recipe = run.recipe.model_dump(mode="json", exclude={"deliver", "export"})
    for i, candidate in enumerate(candidates):
        for (name, seed), evaluate in made.items():
            made_of = identity(name, seed, recipe, candidate.architecture.key, candidate.thresholds)
            if made_of not in done:
                begin = perf_counter()
                found = evaluate(candidate)
                row = {
                    "name": name, "seed": seed, "split": "select", "n": images,
                    "accuracy": found.metrics["accuracy"], "mean_macs": found.metrics["mean_macs"],
                    "mac_rule": run.recipe.policy.mac_rule, "seconds": round(perf_counter() - begin, 3),
                    "final_exit_accuracy": found.extra["exit_accuracy"][-1],
                    "full_macs": found.metrics["full_macs"], "architecture": candidate.architecture.key,
                    "made_of": made_of,
                }  # fmt: skip
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                done[made_of] = row
            yield done[made_of]
            print(f"{i + 1}/{len(candidates)} {name} seed {seed}: {done[made_of]['accuracy']:.4f}", flush=True)


def training(recipe: Recipe) -> dict[str, Any]:
    """How candidates were fine-tuned: [gates] stands for [finetune] where exits have gates; and from what weights."""
    assert recipe.finetune is not None
    gates = recipe.gates.model_dump(mode="json") if recipe.gates else None
    return {"finetune": recipe.finetune.model_dump(mode="json"), "gates": gates, "inherited": recipe.finetune.inherit}


def rankings(rows: list[Row], made: Evaluators) -> list[Row]:
    """Kendall's tau between each two evaluators, by accuracy at the goal and by that of the final exit."""
    found = []
    for one, other in combinations(made, 2):
        record: Row = {"one": list(one), "other": list(other)}
        for metric in ("accuracy", "final_exit_accuracy"):
            columns = [[row[metric] for row in rows if (row["name"], row["seed"]) == who] for who in (one, other)]
            test = kendalltau(*columns)
            nothing = not np.isfinite(test.statistic)  # all equal: there is no ranking
            record |= {
                "n": len(columns[0]),
                f"tau_{metric}": None if nothing else float(test.statistic),
                f"p_{metric}": None if nothing else float(test.pvalue),
            }
        found.append(record)
    return found


def costs(rows: list[Row], made: Evaluators) -> list[Row]:
    """Seconds a candidate, by evaluator."""
    found = []
    for name in dict.fromkeys(name for name, _ in made):
        seconds = [row["seconds"] for row in rows if row["name"] == name]
        found.append(
            {"name": name, "n": len(seconds), "mean_seconds": mean(seconds), "median_seconds": median(seconds)}
        )
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--count", type=int, default=20, help="candidates (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="fine-tunings of each candidate (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of candidates")
    parser.add_argument("--set", action="append", default=[], help="override the run's recipe: finetune.joint_epochs=5")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/NAME.json")
    return parser.parse_args()


def main() -> None:
    """Measure, write the file, print a summary."""
    given = arguments()
    run = Run(Recipe.load(given.run / "recipe.toml", ["search.evaluator=fine-tune", *given.set]), given.run)
    if not run.folder.supernet.exists():
        sys.exit(f"{run.folder.supernet} is not there; one-shot evaluation needs a run with its supernet")
    made = evaluators(run, given.seeds)
    candidates = drawn(run, given.count, given.seed)
    if len(candidates) < 2:
        sys.exit(f"{given.run} has {len(candidates)} evaluated candidates; a ranking needs two")
    if len(candidates) < given.count:
        print(f"only {len(candidates)} candidates there")
    rows = list(measured(run, candidates, made))
    result = record(
        "fine-tune and one-shot evaluation of the same candidates of a run: cost, and rank correlation",
        run.recipe.policy.mac_rule,
        [{key: value for key, value in row.items() if key != "made_of"} for row in rows],
        hardware=f"{hardware()}, {torch.get_num_threads()} threads",
        data=run.recipe.data.name,
        space=run.recipe.space.name,
        supernet_epochs=run.recipe.supernet.epochs,
        **training(run.recipe),
        seconds_per_candidate=costs(rows, made),
        rankings=rankings(rows, made),
    )
    path = given.out or RESULTS / f"{given.name}.json"
    write_json(path, result)
    for cost in result["seconds_per_candidate"]:
        print(f"{cost['name']:10} {cost['mean_seconds']:.2f} s a candidate (n = {cost['n']})")
    for ranking in result["rankings"]:
        who = " and ".join(f"{name} (seed {seed})" for name, seed in (ranking["one"], ranking["other"]))
        print(f"tau of {who}: {ranking['tau_accuracy']} (final exit {ranking['tau_final_exit_accuracy']})")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
