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
    return [
        {
            "map": shape_label(found.backbone[-1].shape_out),
            "blocks": block_labels(stage.blocks),
            "macs": spent.macs,
            "exit": stage.exit and branch and {"layers": branch_labels(stage.exit, architecture.classes), "macs": branch.macs},
        }
        for stage, found, spent, branch in zip(architecture.stages, layers(architecture), costs.stages, costs.branches)
    ]
