"""What a network costs: MACs, parameters and memory, per stage and per exit branch."""

from offramp.cost.analytic import CostModel, LayerCost, analytic
from offramp.cost.network import MAC_RULES, ExitCost, NetworkCost, cost

__all__ = ["MAC_RULES", "CostModel", "ExitCost", "LayerCost", "NetworkCost", "analytic", "cost"]
