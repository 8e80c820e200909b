"""The cost of a whole network, per stage and exit branch, and what leaving at each exit costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from offramp.architecture import Architecture
from offramp.cost.analytic import CostModel, LayerCost
from offramp.cost.devices import device as find_device
from offramp.cost.measured import MeasuredModel
from offramp.cost.vela import NpuModel
from offramp.layers import layers

MAC_RULES = ("executed", "paper")


class ExitCost(NamedTuple):
    """What one exit adds: `stage` is the backbone since the exit before it, `branch` its own head."""

    position: int
    stage: LayerCost
    branch: LayerCost


class NetworkCost(NamedTuple):
    """Costs of every stage (`stages`) and of every stage's exit branch (`branches`, None where there is none)."""

    stages: tuple[LayerCost, ...]
    branches: tuple[LayerCost | None, ...]

    @property
    def exits(self) -> tuple[ExitCost, ...]:
        """One record per exit, in order."""
        found, since = [], LayerCost()
        for position, (stage, branch) in enumerate(zip(self.stages, self.branches)):
            since = since + stage
            if branch is not None:
                found.append(ExitCost(position, since, branch))
                since = LayerCost()
        return tuple(found)

    @property
    def total(self) -> LayerCost:
        """Everything run once: the backbone and all exit branches."""
        return sum((e.stage + e.branch for e in self.exits), LayerCost())

    @property
    def params(self) -> int:
        """Parameters of the backbone and all branches."""
        return self.total.params

    @property
    def weight_bytes(self) -> float:
        """Bytes of all weights."""
        return self.total.weight_bytes

    @property
    def activation_bytes(self) -> float:
        """Peak activation memory in bytes."""
        return self.total.activation_bytes

    def leaving(self, metric: str = "macs", rule: str = "executed") -> tuple[float, ...]:
        """Cost of a sample that leaves at each exit.

        Under the rule `executed` every branch that ran is charged: sum of the stages and branches up to the exit. Under
        `paper` (NACHOS eq. 13, kept for comparison) the branches of earlier exits are free.

        Raises:
            ValueError: `rule` or `metric` is unknown.
        """
        if rule not in MAC_RULES:
            raise ValueError(f"rule is {rule!r}; allowed are {', '.join(MAC_RULES)}")
        if metric not in LayerCost._fields:
            raise ValueError(f"metric is {metric!r}; allowed are {', '.join(LayerCost._fields)}")
        found, ran = [], LayerCost()
        for record in self.exits:
            ran += record.stage
            found.append(float(getattr(ran + record.branch, metric)))
            if rule == "executed":
                ran += record.branch
        return tuple(found)

    def mean(self, utilisation: Sequence[float], metric: str = "macs", rule: str = "executed") -> float:
        """Mean cost when the share `utilisation[e]` of the samples leaves at exit e (NACHOS eq. 15)."""
        costs = self.leaving(metric, rule)
        if len(costs) != len(utilisation):
            raise ValueError(f"utilisation has {len(utilisation)} shares; the network has {len(costs)} exits")
        return sum(share * value for share, value in zip(utilisation, costs))


def cost(
    architecture: Architecture, device: str | CostModel | NpuModel = "analytic", files: Sequence[bytes] | None = None
) -> NetworkCost:
    """Cost of `architecture` on `device` (a name of `DEVICES`, or a model): sums over each stage and exit branch.

    Args:
        files: for an NPU, the stages as `export_tflite` writes them; None: random weights stand in for theirs.

    Raises:
        ValueError: no device has that name, or it cannot compute the network.
        RuntimeError: what the device's costs are computed with is not installed.
    """
    model = find_device(device).model if isinstance(device, str) else device
    if isinstance(model, NpuModel):
        found = model.stages(architecture, files)
        return NetworkCost(tuple(stage for stage, _ in found), tuple(branch for _, branch in found))
    if files is not None:
        raise ValueError(f"device is {device!r}, no NPU; only an NPU's costs depend on files")
    stages, branches = [], []
    for stage in layers(architecture):
        stages.append(sum(map(model, stage.backbone), LayerCost()))
        branches.append(sum(map(model, stage.branch), LayerCost()) if stage.branch else None)
    if isinstance(model, MeasuredModel):
        stages[0] += LayerCost(latency_ms=model.measured.start_ms)
        deciding = LayerCost(latency_ms=model.measured.exit_ms)
        branches = [branch and branch + deciding for branch in branches[:-1]] + branches[-1:]
    return NetworkCost(tuple(stages), tuple(branches))
