"""What a network costs: MACs, parameters and memory, per stage and per exit branch."""

from offramp.cost.analytic import CostModel, LayerCost, analytic
from offramp.cost.devices import DEVICES, Device
from offramp.cost.network import MAC_RULES, ExitCost, NetworkCost, cost

__all__ = ["DEVICES", "MAC_RULES", "CostModel", "Device", "ExitCost", "LayerCost", "NetworkCost", "analytic", "cost"]
