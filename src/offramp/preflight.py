"""What can be known before a run spends anything: mistakes that would otherwise show hours later."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from offramp.data import Task
from offramp.recipe import Recipe
from offramp.search import Constraint, Problem, Study
from offramp.search.costs import Costs
from offramp.search.sampling import draw, hopeless, out_of_reach
from offramp.spaces import SearchSpace


def impossible(recipe: Recipe, task: Task, space: SearchSpace, costs: Costs, study: Study, supernet: bool) -> list[str]:
    """Lines that name what this data and this space cannot give; none where nothing is known to fail.

    `study`: the search's; one that has trials is past what is asked of the space here. `supernet`: whether
    one is trained.
    """
    found = list(_batches(recipe, task, supernet))
    if not len(study):
        found += _bounds(recipe, study.problem, costs)
    return found + list(_statics(recipe, space))


def _batches(recipe: Recipe, task: Task, supernet: bool) -> Iterator[str]:
    first = recipe.supernet if supernet else None
    sections = {"supernet": first, "train": recipe.train, "finetune": recipe.finetune, "gates": recipe.gates}
    for name, section in sections.items():
        if section is not None and section.batch > len(task.train):
            yield f"{name}.batch is {section.batch}; the train split has {len(task.train)} images: take at most as many"


def _bounds(recipe: Recipe, problem: Problem, costs: Costs) -> Iterator[str]:
    """Constraints, alone and with the goal's bound or a delivered budget, that no network of the space can keep.

    Thresholds cannot make up for a goal out of reach: every sample would leave where that is cheapest, and still cost
    too much.
    """
    if not draw(problem, 1, np.random.default_rng(0)):
        yield f"search.constraints: {hopeless(problem)}"
        return
    goal = recipe.policy.budget
    bounds = [] if goal is None else [(f"policy.{goal[0]}", goal)]
    bounds += [(f"deliver.budgets: {b.name!r}", b.budget) for b in recipe.deliver.budgets if b.budget is not None]
    for where, bound in bounds:
        constraints = [*problem.constraints, Constraint(*bound)]
        within = Problem(problem.space, problem.objectives, constraints, costs.known)
        near = out_of_reach(within, np.random.default_rng(0))
        if near is not None:
            yield f"{where}: {hopeless(within, near)}"


def _statics(recipe: Recipe, space: SearchSpace) -> Iterator[str]:
    least = Costs().network(space.smallest()).stages[0].macs
    for macs in recipe.deliver.static_macs:
        if macs < least:
            yield f"deliver.static_macs: {macs:g}; the first stage of the smallest network alone has {least:g} MACs"
