"""Random search: the rival that every other proposer has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from offramp.search.problem import Problem
from offramp.search.sampling import draw
from offramp.search.trial import Trial
from offramp.spaces import Genotype


class RandomProposer:
    """Uniform gene by gene; what is known to violate a constraint is left out."""

    name = "random"

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def propose(self, trials: Sequence[Trial], count: int, rng: np.random.Generator) -> list[Genotype]:
        """See `Proposer.propose`."""
        return draw(self._problem, count, rng, {trial.genotype for trial in trials})
