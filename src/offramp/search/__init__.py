"""Search: a study of evaluated candidates, proposers that choose the next, and the loop between them.

Importing this imports neither Optuna nor pymoo nor scikit-learn; the first use of a name that needs one does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from offramp.search.constraint import Constraint
from offramp.search.errors import NothingFeasible, StudyError
from offramp.search.evaluation import Evaluation, Failure
from offramp.search.metric import METRICS, Metric
from offramp.search.trial import Trial

if TYPE_CHECKING:
    from offramp.search.choose import best_static as best_static
    from offramp.search.choose import best_tradeoff as best_tradeoff
    from offramp.search.choose import best_within as best_within
    from offramp.search.known import analytic_costs as analytic_costs
    from offramp.search.loop import Outcome as Outcome
    from offramp.search.loop import search as search
    from offramp.search.pareto import hypervolume as hypervolume
    from offramp.search.pareto import non_dominated as non_dominated
    from offramp.search.problem import Problem as Problem
    from offramp.search.proposers import PROPOSERS as PROPOSERS
    from offramp.search.proposers import Proposer as Proposer
    from offramp.search.proposers import proposer as proposer
    from offramp.search.study import Study as Study

_LAZY = {
    "PROPOSERS": "proposers",
    "Outcome": "loop",
    "Problem": "problem",
    "Proposer": "proposers",
    "Study": "study",
    "analytic_costs": "known",
    "best_static": "choose",
    "best_tradeoff": "choose",
    "best_within": "choose",
    "hypervolume": "pareto",
    "non_dominated": "pareto",
    "proposer": "proposers",
    "search": "loop",
}

__all__ = [
    "METRICS",
    "PROPOSERS",
    "Constraint",
    "Evaluation",
    "Failure",
    "Metric",
    "NothingFeasible",
    "Outcome",
    "Problem",
    "Proposer",
    "Study",
    "StudyError",
    "Trial",
    "analytic_costs",
    "best_static",
    "best_tradeoff",
    "best_within",
    "hypervolume",
    "non_dominated",
    "proposer",
    "search",
]


def __getattr__(name: str) -> Any:
    """Import the file behind a public name when the name is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
