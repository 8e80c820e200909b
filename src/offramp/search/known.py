"""What an architecture costs, as far as that is known before it is evaluated."""

from __future__ import annotations

from offramp.cost import CostModel, NetworkCost, analytic, cost
from offramp.spaces import Candidate


def analytic_costs(candidate: Candidate, model: CostModel = analytic) -> dict[str, float]:
    """Costs that follow from the architecture alone: full MACs, parameters, bytes; and the least that mean MACs can be.

    Samples cannot cost less than leaving at the cheapest exit, so that bounds `mean_macs` under either MAC rule.
    """
    found = cost(candidate.architecture, model)
    return totals(found) | {"least_mean_macs": float(min(found.leaving(rule="paper")))}


def totals(costs: NetworkCost) -> dict[str, float]:
    """The metrics that do not depend on where samples leave: MACs in all, parameters, bytes."""
    total = costs.total
    return {
        "full_macs": float(total.macs),
        "params": float(total.params),
        "weight_bytes": float(total.weight_bytes),
        "activation_bytes": float(total.activation_bytes),
    }
