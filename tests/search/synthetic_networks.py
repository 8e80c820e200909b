"""An evaluator that takes no training: error and mean MACs as smooth functions of the architecture."""

from __future__ import annotations

import math

from offramp.architecture import Architecture, Bottleneck, Branch
from offramp.cost import cost
from offramp.search import Evaluation, analytic_costs
from offramp.spaces import Candidate, SearchSpace, space

OBJECTIVES = ("error", "mean_macs")
SMALL = {
    "stem_strides": (1,),
    "stem_widths": (8, 12),
    "widths": ((8, 12, 16), (16, 24, 32), (24, 32, 48)),
    "depths": ((1, 2), (1, 2), (1, 2)),
    "strides": (1, 2, 2),
    "expansions": (2, 3, 4),
    "activations": ("relu",) * 3,
    "branch_depths": (0, 1, 2),
    "branch_widths": (16, 32),
    "poolings": ("avg1", "max1"),
    "max_exits": 3,
}
TINY = {
    "stem_strides": (1,),
    "stem_widths": (8,),
    "widths": ((8, 12), (16, 24)),
    "depths": ((1,), (1,)),
    "strides": (1, 2),
    "kernels": (3,),
    "expansions": (2, 3),
    "squeeze_excite": (False,),
    "activations": ("relu",) * 2,
    "branch_depths": (0, 1),
    "branch_operators": ("pointwise",),
    "branch_widths": (16,),
    "poolings": ("avg1",),
    "max_exits": 2,
}


def small_space() -> SearchSpace:
    return space("offramp", (3, 16, 16), 10, **SMALL)


def tiny_space() -> SearchSpace:
    """A space of 96 candidates."""
    return space("offramp", (3, 8, 8), 10, **TINY)


def evaluate(candidate: Candidate) -> Evaluation:
    architecture = candidate.architecture
    errors = _exit_errors(architecture)
    shares, left = [], 1.0
    for error in errors[:-1]:
        shares.append(left * (1 - error) ** 2)
        left -= shares[-1]
    shares.append(left)
    error = sum(share * e for share, e in zip(shares, errors))
    metrics = {"error": error, "accuracy": 1 - error, "mean_macs": cost(architecture).mean(shares)}
    return Evaluation({**analytic_costs(candidate), **metrics}, {"utilisation": shares})


def _exit_errors(architecture: Architecture) -> list[float]:
    found, strength = [], 0.0
    for i, stage in enumerate(architecture.stages):
        for block in stage.blocks:
            if isinstance(block, Bottleneck):
                strength += _strength(block, i)
        if stage.exit is not None:
            found.append(0.06 + 0.84 * math.exp(-0.16 * strength * _branch_strength(stage.exit)))
    return found


def _strength(block: Bottleneck, i: int) -> float:
    squeeze = 0.25 * (i - 0.8) if block.squeeze else 0.0  # helps late, hurts early
    kernel = 0.3 * (1 - 0.2 * i) * (block.kernel - 3) / 2
    return math.log(block.out) * 0.8 + 0.5 * math.log(block.hidden / block.out) + squeeze + kernel - 1.2


def _branch_strength(branch: Branch) -> float:
    layers = sum({"separable": 0.09, "conv": 0.06}[b.kind] * (1 if b.kernel > 1 else 0.5) for b in branch.blocks)
    return 0.85 + layers + (0.04 if branch.pool == "avg" else 0.0)
