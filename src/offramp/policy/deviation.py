"""How far a mean cost is from a target: AEBNAS's objectives and score (Robben et al., arXiv 2512.10671)."""

from math import inf

PENALTY = 0.1
"""Points of error (in %) that one point of MAEP weighs."""


def maep(cost: float, target: float) -> float:
    """MAEP = 100 |cost - T| / T, in %, of a mean cost and its target in the same unit.

    Two-sided: a network below the target is punished as much as one above.

    Raises:
        ValueError: the target is not above 0, or not finite.
    """
    if not 0 < target < inf:
        raise ValueError(f"target is {target}; it must be above 0, and finite")
    return 100 * abs(cost - target) / target


def penalised_error(error: float, cost: float, target: float, weight: float = PENALTY) -> float:
    """The paper's f1 = error% + 0.1 MAEP, in points of %, of an error in 0..1; less is better.

    Its threshold tuning's score, accuracy% - 0.1 MAEP, is 100 less this.
    """
    return 100 * error + weight * maep(cost, target)
