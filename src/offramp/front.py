"""What a search has found, as `front.json` tells it: every trial, and which of them make the front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from offramp.data import Task
from offramp.recipe import Recipe
from offramp.search import Study
from offramp.spaces import SearchSpace


def front(
    recipe: Recipe, task: Task, space: SearchSpace, device: str | None, studies: Mapping[str, Study]
) -> dict[str, Any]:
    """The content of `front.json`; `device` is the name of the one that costs are those of, `studies` by their name."""
    return {
        "task": {
            "name": task.name,
            "input": task.input,
            "classes": task.classes,
            "splits": {name: len(split) for name, split in task.splits.items()},
            "notes": task.notes,
        },
        "space": {"name": space.name, "size": space.size()},
        "objectives": recipe.search.objectives,
        "constraints": recipe.search.constraints,
        "mac_rule": recipe.policy.mac_rule,
        "device": device,
        "split": "select",
        "n": min(recipe.search.images or len(task.select), len(task.select)),
        "evaluator": recipe.search.evaluator,
        "trials": [record for name, study in studies.items() for record in _trials(name, study)],
    }


def _trials(name: str, study: Study) -> list[dict[str, Any]]:
    best = {trial.number for trial in study.front()}
    return [
        {
            "study": name,
            "number": trial.number,
            "proposer": trial.proposer,
            "feasible": trial.feasible,
            "front": trial.number in best,
            "failure": trial.failure.message if trial.failure else None,
            "metrics": trial.metrics,
            "architecture": trial.candidate.architecture.model_dump(mode="json"),
            **(dict(trial.evaluation.extra) if trial.evaluation else {}),
        }
        for trial in study.trials
    ]
