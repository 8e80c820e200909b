"""What a network costs: MACs, parameters, memory, and on a device latency and energy, per stage and exit branch."""

from offramp.cost.analytic import CostModel, LayerCost, analytic
from offramp.cost.devices import DEVICES, Device, describe, device
from offramp.cost.hardware import DeviceError, Hardware
from offramp.cost.mapping import Mapping, Reference, Run, backbone_alone, cores_mapped_to, map_network
from offramp.cost.measured import Measured, MeasuredModel, NotMeasured, words_of
from offramp.cost.network import MAC_RULES, ExitCost, NetworkCost, cost
from offramp.cost.npu import Npu
from offramp.cost.on_device import DeviceModel
from offramp.cost.tables import Estimate, Geometry, MissingLayer, Placement, Table, build_table
from offramp.cost.vela import Compiled, NpuModel

__all__ = [
    "DEVICES",
    "MAC_RULES",
    "Compiled",
    "CostModel",
    "Device",
    "DeviceError",
    "DeviceModel",
    "Estimate",
    "ExitCost",
    "Geometry",
    "Hardware",
    "LayerCost",
    "Mapping",
    "Measured",
    "MeasuredModel",
    "MissingLayer",
    "NetworkCost",
    "NotMeasured",
    "Npu",
    "NpuModel",
    "Placement",
    "Reference",
    "Run",
    "Table",
    "analytic",
    "backbone_alone",
    "build_table",
    "cores_mapped_to",
    "cost",
    "describe",
    "device",
    "map_network",
    "words_of",
]
