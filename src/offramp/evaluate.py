"""A delivered network on labelled images."""

from __future__ import annotations

from typing import Any

from offramp.cost import cost
from offramp.data import Split
from offramp.nn import EarlyExitNet
from offramp.policy import Policy, operate
from offramp.training import score


def evaluate(net: EarlyExitNet, policy: Policy, images: Split, mac_rule: str) -> dict[str, Any]:
    """How right `net` is on `images`, where they leave under `policy`, and what that costs in MACs by `mac_rule`.

    `exit_accuracy` is each exit's on all images, `accuracy_of_leavers` that on those which leave there (None where none
    does); accuracies and `utilisation` are shares in 0..1.

    Raises:
        ValueError: `mac_rule` is unknown.
    """
    table = score(net, images)
    found = operate(policy, table, cost(net.architecture).leaving("macs", mac_rule))
    return {
        "n": len(images),
        "accuracy": found.accuracy,
        "mean_macs": found.mean_cost,
        "mac_rule": mac_rule,
        "utilisation": list(found.utilisation),
        "exit_accuracy": [float(a) for a in table.exit_accuracy],
        "accuracy_of_leavers": list(found.exit_accuracy),
    }
