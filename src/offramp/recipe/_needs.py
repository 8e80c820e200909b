"""What one section of a recipe needs of another: gates, a device, a target, a bound."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

from offramp.cost import DEVICES, DeviceModel, MeasuredModel, NpuModel
from offramp.cost import device as find_device
from offramp.policy import GATE_MEASURES, MEASURES
from offramp.recipe._partial import answers
from offramp.search import METRICS
from offramp.search.constraint import Constraint
from offramp.spaces import SearchSpace, options_of, space

if TYPE_CHECKING:
    from offramp.recipe._budget import Budget
    from offramp.recipe._recipe import Recipe

_SHAPES = ((3, 32, 32), (1, 32, 32), (3, 224, 224))
_NPU_BITS, _FLOAT_BITS = (8, 8), (32, 32)


class _Unsuited(Exception):
    """The space does not suit any of the shapes that were tried."""


def unmet(recipe: Recipe) -> list[str]:
    """What the sections of a recipe need and do not find in the others, as lines; wrong values are left out of it."""
    checks = (
        _gates_to_read, _gates_to_train, _one_rule, _device, _energies, _npu_bits, _measured_bits, _target, _genes,
        _aliases, _bound, _penalty, _grid_of_margins, _search, _static_budget,
    )  # fmt: skip
    found = []
    for check in checks:
        with suppress(_Unsuited):  # what the space is, is seen with the images
            found += answers(check, recipe)
    return found


def _gates_to_read(recipe: Recipe) -> list[str]:
    """The measures that read gates, where the space's exits have none."""
    asked = [measure for measure in recipe.policy.measures if measure in GATE_MEASURES]
    if not asked or _gated(recipe):
        return []
    return [
        f"policy.measures: {', '.join(asked)} reads the exits' gates, and the exits of space "
        f"{recipe.space.name!r} have none; choose among {', '.join(MEASURES)}, or a space whose exits have gates"
    ]


def _gates_to_train(recipe: Recipe) -> list[str]:
    """A section [gates] for a space whose exits have none."""
    if recipe.gates is None or _gated(recipe):
        return []
    return [f"gates: the exits of space {recipe.space.name!r} have no gates; drop the section"]


def _one_rule(recipe: Recipe) -> list[str]:
    """Two ways to count MACs, one to train by and one to choose by."""
    gates, rule = recipe.gates, recipe.policy.mac_rule
    if gates is None or gates.mac_rule == rule:
        return []
    return [
        f"gates.mac_rule: {gates.mac_rule!r} is another rule than policy.mac_rule, {rule!r}; "
        "leave it out, and the policy's is taken"
    ]


def _device(recipe: Recipe) -> list[str]:
    """What asks for energy or latency where no device is named."""
    if recipe.hardware is not None:
        return []
    known = ", ".join(name for name in DEVICES if name != "analytic")
    return [
        f"{path}: {metric} needs a device; name one in [hardware] (device = {known}, or a file)"
        for path, metric in _costs_asked(recipe)
        if METRICS[metric].device
    ]


def _energies(recipe: Recipe) -> list[str]:
    """What asks for energy of a device that tells latencies alone."""
    if recipe.hardware is None or isinstance(find_device(recipe.hardware.device).model, DeviceModel):
        return []
    return [
        f"{path}: {metric} needs energies, which {recipe.hardware.device} does not tell; it has mean_latency_ms"
        for path, metric in _costs_asked(recipe)
        if METRICS[metric].device and metric != "mean_latency_ms"
    ]


def _npu_bits(recipe: Recipe) -> list[str]:
    """Bits of the space that an NPU does not compute at."""
    if recipe.hardware is None or not isinstance(find_device(recipe.hardware.device).model, NpuModel):
        return []
    offered = _space(recipe).bits
    if offered == (_NPU_BITS,):
        return []
    return [
        f"space.bits: {_written(offered)} of space {recipe.space.name!r}; {recipe.hardware.device} computes at 8 bits "
        f"only: allowed is {_written([_NPU_BITS])}"
    ]


def _measured_bits(recipe: Recipe) -> list[str]:
    """Bits of the space that a measured device tells nothing of."""
    if recipe.hardware is None or not isinstance(find_device(recipe.hardware.device).model, MeasuredModel):
        return []
    offered = _space(recipe).bits
    if offered == (_FLOAT_BITS,) or not recipe.search.evaluations:
        return []
    return [
        f"space.bits: {_written(offered)} of space {recipe.space.name!r}; {recipe.hardware.device} was measured in "
        f"float: allowed is {_written([_FLOAT_BITS])}"
    ]


def _target(recipe: Recipe) -> list[str]:
    """What tells how near mean MACs are to a target where there is none."""
    if recipe.policy.mean_macs is not None:
        return []
    asked = (*answers(_objectives, recipe), *answers(_constraints, recipe))
    return [f"{path}: {metric} needs the target policy.mean_macs" for path, metric in asked if METRICS[metric].target]


def _genes(recipe: Recipe) -> list[str]:
    """Thresholds that are genes, in a space without such genes."""
    if recipe.policy.thresholds != "genes" or any("threshold" in gene.name for gene in _space(recipe).genes):
        return []
    return [f"policy.thresholds: space {recipe.space.name!r} has no thresholds among its genes; choose another way"]


def _aliases(recipe: Recipe) -> list[str]:
    """Thresholds among which genes choose though nobody reads them: equal networks, evaluated more than once."""
    if recipe.policy.thresholds == "genes":
        return []
    genes = [gene for gene in _space(recipe).genes if gene.name.endswith("threshold")]
    per_exit = any(gene.name != "threshold" for gene in genes)  # there, 1 stands for "no exit"
    values = sorted({value for gene in genes for value in gene.choices if value < 1 or not per_exit})
    if len(values) < 2:
        return []
    listed = ", ".join(f"{value:g}" for value in values)
    absent = " and 1.0" if per_exit else ""
    return [
        f"space.thresholds: {listed} give the same network under policy.thresholds = {recipe.policy.thresholds!r}, "
        f'which sets its own; give one of them{absent}, or policy.thresholds = "genes"'
    ]


def _bound(recipe: Recipe) -> list[str]:
    """Thresholds that are lowered to meet a bound, without one."""
    if recipe.policy.thresholds != "repair" or recipe.bounds[0] < inf:
        return []
    metric = recipe.policy.metric
    return [
        f"policy.thresholds: 'repair' lowers thresholds until a bound on {metric} is met, and there is none; "
        f'give policy.{metric}, or a constraint "{metric} <= NUMBER"'
    ]


def _penalty(recipe: Recipe) -> list[str]:
    """A penalty on what exceeds a bound, without one."""
    search = recipe.search
    if "constraints" in search.model_fields_set:
        constraints = search.parsed_constraints
    else:  # the policy's, which may be wrong itself
        constraints = tuple(Constraint(*bound) for bound in (recipe.policy.budget,) if bound)
    objectives = search.objectives
    if "objectives" not in search.model_fields_set:
        objectives = ("error", recipe.policy.metric)
    bounded = [c for c in constraints if c.metric in objectives]
    if search.domination != "penalty" or any(c.caps for c in bounded):
        return []
    return ["search: domination = 'penalty' needs a bound on an objective, such as \"mean_macs <= 2.7e6\""]


def _grid_of_margins(recipe: Recipe) -> list[str]:
    """Thresholds on AEBNAS' grid, without its measure or its target."""
    policy = recipe.policy
    if policy.thresholds != "grid" or (policy.mean_macs is not None and policy.measures == ("margin",)):
        return []
    goal = policy.metric if policy.budget else "accuracy" if policy.accuracy else "none"
    given = f"goal {goal} and measures {', '.join(policy.measures)}"
    return [
        "policy.thresholds: 'grid' scores margins against a target of mean MACs; give policy.mean_macs, and "
        f'measures = ["margin"] alone (given: {given})'
    ]


def _search(recipe: Recipe) -> list[str]:
    """Networks to choose from a search that evaluates none."""
    if recipe.search.evaluations:
        return []
    unnamed = [budget.name for budget in recipe.deliver.budgets if budget.architecture is None]
    found = (
        [
            f"search.evaluations: 0, and {', '.join(unnamed)} of deliver.budgets would be chosen by a search; give "
            "it an architecture, or the search at least 1"
        ]
        if unnamed
        else []
    )
    asked = {"static_macs": bool(recipe.deliver.static_macs), "static_budget": recipe.deliver.static_budget}
    found += [
        f"deliver.{key}: static networks are chosen among a search's, and search.evaluations is 0; "
        "name them as budgets with an architecture"
        for key, given in asked.items()
        if given
    ]
    return found


def _static_budget(recipe: Recipe) -> list[str]:
    """A static network within a budget that bounds no mean cost."""
    if not recipe.deliver.static_budget or recipe.policy.budget:
        return []
    free = [budget.name for budget in recipe.deliver.budgets if budget.budget is None]
    return [
        f"deliver.static_budget: {name} of deliver.budgets bounds no mean cost; give it one, or leave static_budget out"
        for name in free
    ]


def _costs_asked(recipe: Recipe) -> list[tuple[str, str]]:
    """Paths, each with the metric that the goal, the search or a budget names there."""
    return [asked for part in (_goal, _objectives, _constraints, _budgets) for asked in answers(part, recipe)]


def _goal(recipe: Recipe) -> list[tuple[str, str]]:
    return [("policy", recipe.policy.metric)]


def _objectives(recipe: Recipe) -> list[tuple[str, str]]:
    if "objectives" not in recipe.search.model_fields_set:  # the policy's, told there
        return []
    return [(f"search.objectives.{i}", name) for i, name in enumerate(recipe.search.objectives)]


def _constraints(recipe: Recipe) -> list[tuple[str, str]]:
    if "constraints" not in recipe.search.model_fields_set:  # the policy's, told there
        return []
    return [(f"search.constraints.{i}", c.metric) for i, c in enumerate(recipe.search.parsed_constraints)]


def _budgets(recipe: Recipe) -> list[tuple[str, str]]:
    if "budgets" not in recipe.deliver.model_fields_set:
        return []
    return [asked for i, budget in enumerate(recipe.deliver.budgets) for asked in answers(_bounded, i, budget)]


def _bounded(i: int, budget: Budget) -> list[tuple[str, str]]:
    return [(f"deliver.budgets.{i}", budget.budget[0])] if budget.budget else []


def _written(pairs: Iterable[tuple[int, int]]) -> str:
    """As a recipe has them."""
    return str([list(pair) for pair in pairs])


def _gated(recipe: Recipe) -> bool:
    """Whether the space's exits have gates."""
    return _space(recipe).largest().gated


def _space(recipe: Recipe) -> SearchSpace:
    """The space for some images: their shape is not known yet, and neither gates nor genes' names depend on it."""
    name, options = recipe.space.name, recipe.space.options
    for shape in (options_of(name, options).example, *_SHAPES):
        with suppress(ValueError):
            return space(name, shape, 10, **options)
    raise _Unsuited
