"""What can be known before a run spends anything: mistakes that would otherwise show hours later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from offramp.architecture import Architecture
from offramp.data import Task
from offramp.recipe import Recipe
from offramp.search import Constraint, Problem
from offramp.search.costs import Costs
from offramp.search.sampling import draw, hopeless, out_of_reach
from offramp.spaces import SearchSpace

_FEW = 100
"""Images of a split, with fewer of which nothing is told apart."""


def impossible(
    recipe: Recipe,
    task: Task,
    problem: Problem,
    costs: Costs,
    named: Mapping[str, Architecture],
    *,
    supernet: bool,
    searched: bool,
) -> list[str]:
    """Lines that name what this data and this space cannot give; none where nothing is known to fail.

    `named`: the networks that budgets name, by the budget's name. `supernet`: whether one is trained. `searched`:
    whether the search is past what is asked of the space here.
    """
    found = [*_batches(recipe, task, supernet), *_out_of_budget(recipe, costs, named)]
    if not searched:
        found += _bounds(recipe, problem, costs)
    return found + list(_statics(recipe, problem.space))


def doubtful(recipe: Recipe, task: Task, space: SearchSpace) -> list[str]:
    """Lines on what can be done and is hardly meant: splits too small to tell networks apart, and where there is a
    search, small networks never trained, a bound that need not be kept or is another one elsewhere."""
    of_search = [*_untrained(recipe), *_unbound(recipe, space), *_apart(recipe)] if recipe.search.evaluations else []
    return [*_small(task), *of_search]


def _small(task: Task) -> Iterator[str]:
    for name, use in (("select", "networks and thresholds are chosen"), ("test", "networks are judged")):
        n = len(task.splits[name])
        if n < _FEW:
            points = 100 * 1.96 * (0.25 / n) ** 0.5
            yield (
                f"the {name} split, by which {use}, has {n} images: an accuracy on it may be off by {points:.0f} "
                f"points (95 % interval of one near 50 %)"
            )


def _untrained(recipe: Recipe) -> Iterator[str]:
    settings = recipe.supernet
    if 0 < settings.epochs <= settings.largest_epochs:
        yield (
            f"supernet.largest_epochs is {settings.largest_epochs} of {settings.epochs} epochs: "
            "the largest network alone is trained, and candidates are scored with weights that never served them"
        )


def _unbound(recipe: Recipe, space: SearchSpace) -> list[str]:
    if recipe.policy.budget is None:
        return []
    metric, bound = recipe.policy.budget
    constraints = recipe.search.parsed_constraints
    if any(c.metric == metric and not c.at_least and c.bound <= bound for c in constraints):
        return []
    if metric == "mean_macs" and bound >= Costs().network(space.largest()).total.macs:
        return []  # it was not meant to bind
    return [
        f"deliver.budgets: {budget.name!r} is the best trade-off, which policy.{metric} = {bound!r} does not bound: "
        f'give it {metric} = {bound!r}, or the search the constraint "{metric} <= {bound!r}"'
        for budget in recipe.deliver.budgets
        if budget.budget is None and not budget.architecture
    ]


def _apart(recipe: Recipe) -> Iterator[str]:
    """Bounds on one mean cost that differ between the sections which should agree on it."""
    budgets = [
        (budget.name, *budget.budget) for budget in recipe.deliver.budgets if budget.budget and not budget.architecture
    ]
    own = "budgets" in recipe.deliver.model_fields_set  # else they are the policy's
    kept = "search.constraints" if "constraints" in recipe.search.model_fields_set else f"policy.{recipe.policy.metric}"
    most: dict[str, float] = {}
    for c in recipe.search.parsed_constraints:
        if not c.at_least:
            most[c.metric] = min(c.bound, most.get(c.metric, c.bound))
    for name, metric, bound in budgets:
        if metric in most and most[metric] < bound:
            yield (
                f"{f'deliver.budgets: {name!r}' if own else f'policy.{metric}'} allows {metric} of {bound:g}, and "
                f"networks are chosen among those that the search found to keep {most[metric]:g} ({kept})"
            )
    goal_is_used = any(b.budget is None and not b.architecture for b in recipe.deliver.budgets)
    if goal_is_used or recipe.policy.budget is None or recipe.policy.thresholds == "genes":
        return
    metric, goal = recipe.policy.budget
    asked = [bound for _, of, bound in budgets if of == metric]
    if asked and not min(asked) <= goal <= max(asked):
        yield (
            f"policy.{metric} is {goal:g}, for which the search sets the candidates' thresholds; the budgets ask for "
            f"{', '.join(f'{bound:g}' for bound in asked)}"
        )


def _batches(recipe: Recipe, task: Task, supernet: bool) -> Iterator[str]:
    first = recipe.supernet if supernet else None
    sections = {"supernet": first, "train": recipe.train, "finetune": recipe.finetune, "gates": recipe.gates}
    for name, section in sections.items():
        if section is not None and section.batch > len(task.train):
            yield f"{name}.batch is {section.batch}; the train split has {len(task.train)} images: take at most as many"
    gates = recipe.gates
    if gates is None or not (gates.phases[2] and gates.weight_peak):
        return
    left = len(task.train) - round(gates.support * len(task.train))
    if left < gates.batch <= len(task.train):
        yield (
            f"gates.batch is {gates.batch}; phase 3 holds out {gates.support:.0%} of the train split and trains on "
            f"{left} images: take at most as many"
        )


def _bounds(recipe: Recipe, problem: Problem, costs: Costs) -> Iterator[str]:
    """Constraints, alone and with the goal's bound or a delivered budget, that no network of the space can keep.

    Thresholds cannot make up for a goal out of reach: every sample would leave where that is cheapest, and still cost
    too much.
    """
    goal = recipe.policy.budget
    if not draw(problem, 1, np.random.default_rng(0)):
        inherited = goal is not None and "constraints" not in recipe.search.model_fields_set
        yield f"{f'policy.{recipe.policy.metric}' if inherited else 'search.constraints'}: {hopeless(problem)}"
        return
    bounds = {} if goal is None else {goal: f"policy.{goal[0]}"}
    for budget in recipe.deliver.budgets:
        if budget.budget is not None and not budget.architecture:
            bounds.setdefault(budget.budget, f"deliver.budgets: {budget.name!r}")
    for bound, where in bounds.items():
        constraints = [*problem.constraints, Constraint(*bound)]
        within = Problem(problem.space, problem.objectives, constraints, costs.known)
        near = out_of_reach(within, np.random.default_rng(0))
        if near is not None:
            yield f"{where}: {hopeless(within, near)}"


def _out_of_budget(recipe: Recipe, costs: Costs, named: Mapping[str, Architecture]) -> Iterator[str]:
    """Named networks that cost more than their budget even if every sample left where that is cheapest."""
    for budget in recipe.deliver.budgets:
        if budget.budget is None or budget.name not in named:
            continue
        (metric, bound), network = budget.budget, named[budget.name]
        least = min(costs.leaving(network.with_exits((position,)))[metric][0] for position in network.exits)
        if least > bound:
            yield f"deliver.budgets: {budget.name!r} asks for {metric} <= {bound:g}; its network has at least {least:g}"


def _statics(recipe: Recipe, space: SearchSpace) -> Iterator[str]:
    least = Costs().network(space.smallest()).stages[0].macs
    for macs in recipe.deliver.static_macs:
        if macs < least:
            yield f"deliver.static_macs: {macs:g}; the first stage of the smallest network alone has {least:g} MACs"
