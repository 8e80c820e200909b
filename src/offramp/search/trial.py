"""One finished evaluation of a study."""

from __future__ import annotations

from dataclasses import dataclass

from offramp.search.evaluation import Evaluation, Failure
from offramp.spaces import Candidate, Genotype


@dataclass(frozen=True)
class Trial:
    """What was evaluated and what came of it.

    `number` is its place in the study. `genotype` is canonical. `violation` is the sum of the violated constraints'
    violations, infinite for a failure. `batch` is how many trials there were when it was proposed.
    """

    number: int
    genotype: Genotype
    candidate: Candidate
    result: Evaluation | Failure
    proposer: str
    batch: int
    violation: float

    @property
    def evaluation(self) -> Evaluation | None:
        """What was measured; None for a failure."""
        return self.result if isinstance(self.result, Evaluation) else None

    @property
    def failure(self) -> Failure | None:
        """Why there is no evaluation; None where there is one."""
        return self.result if isinstance(self.result, Failure) else None

    @property
    def feasible(self) -> bool:
        """It was evaluated, and keeps every constraint."""
        return self.violation <= 0

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics measured; empty for a failure."""
        return dict(self.evaluation.metrics) if self.evaluation else {}
