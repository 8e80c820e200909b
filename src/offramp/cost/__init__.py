"""What a network costs: MACs, parameters, memory, and on a device latency and energy, per stage and exit branch."""

from offramp.cost.analytic import CostModel, LayerCost, analytic
from offramp.cost.devices import DEVICES, Device, describe, device
from offramp.cost.hardware import DeviceError, Hardware
from offramp.cost.network import MAC_RULES, ExitCost, NetworkCost, cost
from offramp.cost.on_device import DeviceModel
from offramp.cost.tables import Estimate, Geometry, MissingLayer, Placement, Table, build_table

__all__ = [
    "DEVICES",
    "MAC_RULES",
    "CostModel",
    "Device",
    "DeviceError",
    "DeviceModel",
    "Estimate",
    "ExitCost",
    "Geometry",
    "Hardware",
    "LayerCost",
    "MissingLayer",
    "NetworkCost",
    "Placement",
    "Table",
    "analytic",
    "build_table",
    "cost",
    "describe",
    "device",
]
