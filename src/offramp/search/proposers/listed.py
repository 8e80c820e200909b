"""Proposals that were settled beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from offramp.search.loop import INITIAL
from offramp.search.trial import Trial
from offramp.spaces import Genotype


class ListedProposer:
    """Proposes `genotypes` (canonical), in order: to evaluate what one study found anew for another one."""

    name = "listed"

    def __init__(self, genotypes: Sequence[Genotype]) -> None:
        self._genotypes = list(dict.fromkeys(genotypes))

    def propose(self, trials: Sequence[Trial], count: int, rng: np.random.Generator) -> list[Genotype]:
        """See `Proposer.propose`."""
        seen = {trial.genotype for trial in trials}
        return [genotype for genotype in self._genotypes if genotype not in seen][:count]


def last_batches(trials: Sequence[Trial], count: int) -> list[Genotype]:
    """The genotypes that a search's last `count` batches evaluated, in order; the random ones of its start are none."""
    proposed = [trial for trial in trials if trial.proposer != INITIAL and trial.evaluation is not None]
    last = sorted({trial.batch for trial in proposed})[-count:] if count else []
    return [trial.genotype for trial in proposed if trial.batch in last]
