"""How many images leave at each exit, and how many of them are right."""

from __future__ import annotations

from typing import NamedTuple

from offramp.report._delivered import Delivered


class Leavers(NamedTuple):
    """The images that left at one exit: `share` of all in 0..1, `right` of these in 0..1 (None where nobody left)."""

    exit: int
    share: float
    images: int
    right: float | None

    @property
    def right_share(self) -> float:
        """Right answers here, as a share of all images."""
        return self.share * (self.right or 0.0)


def leavers(network: Delivered) -> list[Leavers]:
    """One record per exit, as `metrics.json` has it for the test split."""
    return [
        Leavers(e, record["share"], round(record["share"] * network.n), record.get("accuracy_of_leavers"))
        for e, record in enumerate(network.exits)
    ]
