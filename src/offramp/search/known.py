"""What an architecture costs, as far as that is known before it is evaluated."""

from __future__ import annotations

from offramp.cost import CostModel, analytic, cost
from offramp.spaces import Candidate


def analytic_costs(candidate: Candidate, model: CostModel = analytic) -> dict[str, float]:
    """Costs that follow from the architecture alone: full MACs, parameters, bytes; and the least that mean MACs can be.

    Samples cannot cost less than leaving at the cheapest exit, so that bounds `mean_macs` under either MAC rule.
    """
    found = cost(candidate.architecture, model)
    return {
        "full_macs": float(found.total.macs),
        "params": float(found.params),
        "weight_bytes": float(found.weight_bytes),
        "activation_bytes": float(found.activation_bytes),
        "least_mean_macs": float(min(found.leaving(rule="paper"))),
    }
