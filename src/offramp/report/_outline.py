"""A network as plain records: what both drawings, the picture and the panel beside the front, are made of."""

from __future__ import annotations

from typing import Any

from offramp.architecture import Architecture
from offramp.cost import NetworkCost, cost
from offramp.layers import layers
from offramp.report._labels import block_labels, branch_labels, shape_label


def outline(architecture: Architecture, costs: NetworkCost | None = None) -> list[dict[str, Any]]:
    """One record per stage: `map` (its output), `blocks`, `macs`, and `exit` with `layers` and `macs`, or None."""
    costs = costs or cost(architecture)
    found = []
    for stage, own, spent, branch in zip(architecture.stages, layers(architecture), costs.stages, costs.branches):
        leave = None
        if stage.exit is not None and branch is not None:
            leave = {"layers": branch_labels(stage.exit, architecture.classes), "macs": branch.macs}
        shape = shape_label(own.backbone[-1].shape_out)
        found.append({"map": shape, "blocks": block_labels(stage.blocks), "macs": spent.macs, "exit": leave})
    return found
