"""What a proposer is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from offramp.search.trial import Trial
from offramp.spaces import Genotype


class Proposer(Protocol):
    """Decides what is evaluated next.

    Everything it knows comes from its arguments: the same trials and the same `rng` give the same proposals, so that a
    search started again goes on as one that never stopped would have.
    """

    name: str

    def propose(self, trials: Sequence[Trial], count: int, rng: np.random.Generator) -> list[Genotype]:
        """Up to `count` genotypes: canonical, distinct, none of them among `trials`, failed ones included.

        An empty list says that nothing is left to propose.
        """
        ...
