"""Proposers: what to evaluate next."""

from __future__ import annotations

from typing import Any

from offramp.search.problem import Problem
from offramp.search.proposers.base import Proposer
from offramp.search.proposers.nsga2 import NSGA2Proposer
from offramp.search.proposers.random import RandomProposer
from offramp.search.proposers.surrogate import SurrogateProposer

_PROPOSERS: dict[str, Any] = {"random": RandomProposer, "nsga2": NSGA2Proposer, "surrogate": SurrogateProposer}
PROPOSERS = tuple(_PROPOSERS)

__all__ = ["PROPOSERS", "NSGA2Proposer", "Proposer", "RandomProposer", "SurrogateProposer", "proposer"]


def proposer(name: str, problem: Problem, **options: Any) -> Proposer:
    """The proposer `name` for `problem`, with its own options.

    Raises:
        ValueError: unknown name.
        TypeError: an option that it does not have.
    """
    if name not in _PROPOSERS:
        raise ValueError(f"proposer is {name!r}; known are {', '.join(PROPOSERS)}")
    return _PROPOSERS[name](problem, **options)
