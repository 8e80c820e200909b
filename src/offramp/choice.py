"""Which networks a run delivers: the best for each budget, and the static ones beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from offramp.architecture import Architecture
from offramp.data import Task
from offramp.progress import tell
from offramp.recipe import Budget, Recipe, RecipeError
from offramp.run_folder import RunFolder
from offramp.search import NothingFeasible, Study, Trial, best_static, best_tradeoff, best_within
from offramp.search.choose import backbone_static
from offramp.search.costs import Costs
from offramp.spaces import Candidate, SearchSpace


class Chosen(NamedTuple):
    """A network to deliver: its folder's name, itself, and the budget of its own that thresholds are set for."""

    name: str
    candidate: Candidate
    budget: tuple[str, float] | None


@dataclass(frozen=True)
class Choice:
    """Chooses by a recipe among the networks of `space`; what it cannot give is told to `folder`'s log."""

    recipe: Recipe
    task: Task
    space: SearchSpace
    costs: Costs
    folder: RunFolder

    def of(self, study: Study, retrained: Study | None) -> list[Chosen]:
        """Every network to deliver, in the recipe's order.

        Args:
            study: the search's trials.
            retrained: of the candidates that were trained longer, where the recipe asks for it; they come first.

        Raises:
            NothingFeasible: no trial keeps the constraints and a budget.
            RecipeError: see `named`.
        """
        wanted = self.recipe.deliver
        chosen = [Chosen(b.name, self._best(b, study, retrained), b.budget) for b in wanted.budgets]
        statics = [*self._statics(study)]
        if wanted.static_backbone:
            statics += self._backbones(chosen, study)
        return chosen + statics

    def named(self, budget: Budget) -> Architecture:
        """The network that a budget names.

        Raises:
            RecipeError: it is for other images or classes, or no slice of the supernet whose weights it would inherit.
        """
        assert budget.architecture is not None
        copy, where = self.folder.named(budget.name), f"deliver.budgets: {budget.name!r}"
        found = Architecture.load(copy if copy.exists() else budget.architecture)
        wanted = (self.task.input, len(self.task.classes))
        if (found.input, found.classes) != wanted:
            told = (
                f"for input {found.input} and {found.classes} classes; {self.task.name} has {wanted[0]} and {wanted[1]}"
            )
            raise RecipeError(where, [f"{budget.architecture} is {told}"])
        if self.recipe.train.inherit:
            try:
                if self.space.decode(self.space.encode(self._with_thresholds(found))).architecture != found:
                    raise ValueError("its genes stand for another network")
            except ValueError as error:
                hint = "it cannot inherit the supernet's weights: give train.inherit = false"
                raise RecipeError(
                    where, [f"{budget.architecture} is not of space {self.space.name!r} ({error})", hint]
                ) from error
        return found

    def _with_thresholds(self, architecture: Architecture) -> Candidate:
        """With some where the space has genes for them: a file holds none, nor do weights depend on them."""
        values = [min(gene.choices) for gene in self.space.genes if gene.name.endswith("threshold")]
        early = len(architecture.exits) - 1
        return Candidate(architecture, (values[0],) * early if values and early else None)

    def _best(self, budget: Budget, study: Study, retrained: Study | None) -> Candidate:
        if budget.architecture:
            return Candidate(self.named(budget))
        if retrained is not None:
            try:
                return _best(retrained, budget).candidate
            except NothingFeasible as error:
                self.folder.log("chosen from the whole search", budget=budget.name, reason=str(error))
        return _best(study, budget).candidate

    def _statics(self, study: Study) -> Iterator[Chosen]:
        """The most accurate static networks within the MACs that the recipe names, and within its budgets."""
        wanted = self.recipe.deliver
        asked = [(f"static-{_short(macs)}", "static_macs", "mean_macs", macs) for macs in wanted.static_macs]
        for budget in wanted.budgets if wanted.static_budget else ():
            kept = budget.budget or self.recipe.policy.budget
            assert kept is not None  # the recipe was checked
            asked.append((f"static-budget-{budget.name}", "static_budget", *kept))
        for name, key, metric, bound in asked:
            try:
                static = best_static(study.trials, bound, self._full_cost(metric))
            except NothingFeasible as error:  # the early-exit networks are wanted all the same
                self.folder.log("no static network", wanted=name, reason=str(error))
                tell(f"deliver.{key}: {error} ({metric} <= {bound:g})")
                continue
            yield Chosen(name, Candidate(static), (metric, bound))

    def _backbones(self, chosen: Sequence[Chosen], study: Study) -> list[Chosen]:
        """The static network of each chosen one with early exits, each once."""
        found: dict[Candidate, Chosen] = {}
        full = self._full_cost(self.recipe.policy.metric)
        for name, candidate, budget in chosen:
            if len(candidate.architecture.exits) > 1:
                static = Candidate(backbone_static(study.trials, candidate.architecture, full))
                found.setdefault(static, Chosen(f"static-backbone-{name}", static, budget))
        return list(found.values())

    def _full_cost(self, metric: str) -> Callable[[Architecture], float]:
        return lambda architecture: self.costs.leaving(architecture)[metric][-1]


def _best(study: Study, budget: Budget) -> Trial:
    """The study's best trial for a budget.

    Raises:
        NothingFeasible: none keeps the constraints and the budget.
    """
    if budget.budget is None:
        return best_tradeoff(study.problem, study.trials)
    metric, bound = budget.budget
    return best_within(study.problem, study.trials, f"{metric} <= {bound!r}")


def _short(macs: float) -> str:
    return f"{macs / 1e6:.4g}M" if macs >= 1e6 else f"{macs / 1e3:.4g}k"
