"""The section [search]."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import inf
from typing import Annotated, Any

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from offramp.recipe._section import Section, once, one_of
from offramp.search import METRICS, Constraint
from offramp.search.penalty import DOMINATIONS

# As in search/proposers, search/surrogates and search/evolution, which would load scikit-learn and pymoo; a test holds
# them equal.
PROPOSERS = ("random", "nsga2", "surrogate")
SURROGATES = ("gp", "rbf", "trees", "mlp", "auto")
PREDICT = ("objectives", "shares")
CROSSOVERS = ("uniform", "two-point")
EVALUATORS = ("one-shot", "fine-tune")

_INITIAL = 32
_SHARES = ("error", "accuracy", "dynamic_efficiency")


def _constraint(text: str) -> str:
    found = Constraint.parse(text)
    most = 1.0 if found.metric in _SHARES else inf
    if not 0 <= found.bound <= most:
        lies = "lies in 0..1" if most == 1 else "is never negative"
        raise ValueError(f"constraint {text!r} has the bound {found.bound:g}; {found.metric} {lies}")
    return str(found)


def _storage(url: str) -> str:
    """A URL that SQLAlchemy has a dialect for, or the path of a journal."""
    if "://" not in url:
        return url
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(url).get_dialect()
    except (ArgumentError, ValueError) as error:
        known = "sqlite:///study.db and postgresql://USER@HOST/DATABASE"
        scheme = url.partition("://")[0]  # without what follows: a password may be in it
        raise ValueError(f"'{scheme}://...' is no database's URL ({error}); such are {known}") from None
    return url


class SearchSection(Section):
    """Which candidates are evaluated, and what is wanted of them."""

    proposer: Annotated[str, one_of(PROPOSERS)] = Field("surrogate", description="who chooses the candidates")
    evaluator: Annotated[str, one_of(EVALUATORS)] = Field(
        "one-shot", description="slices of the supernet, or each candidate trained by [finetune]"
    )
    surrogate: Annotated[str, one_of(SURROGATES)] = Field(
        "gp", description="the surrogate proposer's model; auto: the best by cross-validation, anew for every batch"
    )
    domination: Annotated[str, one_of(DOMINATIONS)] = Field(
        "feasibility", description="the surrogate proposer's rule: feasible first, or penalty, NACHOS' F_CM (eq. 19)"
    )
    predict: Annotated[str, one_of(PREDICT)] = Field(
        "objectives", description="what the surrogates learn: mean costs as such, or where samples leave"
    )
    population: int = Field(60, ge=4, description="individuals of the surrogate proposer's NSGA-II")
    generations: PositiveInt = Field(25, description="of the surrogate proposer's NSGA-II, for every batch")
    crossover: Annotated[str, one_of(CROSSOVERS)] = Field(
        "uniform", description="the surrogate proposer's: gene by gene, or what lies between two cuts"
    )
    objectives: tuple[Annotated[str, one_of(tuple(METRICS))], ...] = Field(
        ("error", "mean_macs"),
        min_length=1,
        description="what the front is made of; default: error, and the mean cost that [policy] is about",
    )
    constraints: tuple[Annotated[str, AfterValidator(_constraint)], ...] = Field(
        (),
        description='such as "params <= 2e5": METRIC <= NUMBER or METRIC >= NUMBER, of the metrics above; default: the '
        "bound of [policy] on a mean cost",
    )
    evaluations: NonNegativeInt = Field(
        100, description="candidates in all; 0: no search, for budgets that name their architectures"
    )
    initial: PositiveInt = Field(
        _INITIAL,
        description="random candidates before the proposer takes over; by default never above evaluations",
    )
    batch: PositiveInt = Field(8, description="candidates proposed at a time")
    baseline: bool = Field(True, description="also evaluate as many random candidates, for comparison")
    images: PositiveInt | None = Field(None, description="select images per evaluation; default: all")
    statistics_images: PositiveInt = Field(2000, description="training images for batch-norm statistics")
    storage: Annotated[str, AfterValidator(_storage)] | None = Field(
        None, description="an Optuna storage URL; default: study.journal in the run's folder"
    )
    stop_after: PositiveInt | None = Field(None, description="stop when hypervolume has not grown for so many batches")
    retrain: NonNegativeInt = Field(
        0, description="candidates of so many last batches are trained by [train], and networks chosen among them"
    )

    @model_validator(mode="before")
    @classmethod
    def _short_searches(cls, values: Any) -> Any:
        """A search of fewer evaluations than `initial` has by default."""
        most = values.get("evaluations") if isinstance(values, Mapping) else None
        short = isinstance(most, int) and 0 < most < _INITIAL
        return {"initial": most, **values} if short else values

    @property
    def parsed_constraints(self) -> tuple[Constraint, ...]:
        """The constraints, ready to be used."""
        return tuple(map(Constraint.parse, self.constraints))

    @field_validator("objectives")
    @classmethod
    def _objectives_differ(cls, objectives: tuple[str, ...]) -> tuple[str, ...]:
        return once("objective", objectives)

    @model_validator(mode="after")
    def _initial_fits(self) -> SearchSection:
        if self.initial > self.evaluations > 0:
            raise ValueError(f"initial is {self.initial}, more than evaluations, {self.evaluations}")
        return self

    @model_validator(mode="after")
    def _constraints_can_be_kept(self) -> SearchSection:
        for low, high in product(self.parsed_constraints, repeat=2):
            if low.metric == high.metric and low.at_least and not high.at_least and low.bound > high.bound:
                raise ValueError(f"constraints {str(low)!r} and {str(high)!r} cannot both be kept")
        return self
