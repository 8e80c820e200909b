"""What the report reads from a run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offramp.report._delivered import Delivered, Group, budget_order, groups
from offramp.run_folder import RunFolder, read_json


@dataclass(frozen=True)
class Files:
    """Everything there is: `front` (None before the search has finished), delivered budgets, static networks beside.

    `left_out` tells of folders that could not be used, one sentence each.
    """

    root: Path
    front: dict[str, Any] | None
    chosen: tuple[Group, ...] = ()
    baselines: tuple[Group, ...] = ()
    left_out: tuple[str, ...] = ()

    @classmethod
    def read(cls, root: Path) -> Files:
        """Read the folder of a run, finished or not; ValueError where `front.json` is damaged."""
        folder, networks, left_out = RunFolder(root), [], []
        for path in folder.delivered():
            try:
                networks.append(Delivered.read(path))
            except (OSError, ValueError) as error:
                left_out.append(f"chosen/{path.name} is left out: {error}")
        found = groups(networks, budget_order(folder.recipe))
        return cls(
            root,
            read_json(folder.front) if folder.front.exists() else None,
            tuple(group for group in found if not group.is_baseline),
            tuple(group for group in found if group.is_baseline),
            tuple(left_out),
        )

    @property
    def mac_rule(self) -> str:
        """The rule by which this run's MACs are counted."""
        if self.front is not None:
            return str(self.front["mac_rule"])
        return next((str(g.first.metrics["mac_rule"]) for g in (*self.chosen, *self.baselines)), "executed")

    @property
    def splits(self) -> dict[str, int]:
        """Images per split; empty where nothing tells."""
        if self.front is not None:
            return dict(self.front["task"]["splits"])
        return next((dict(g.first.metrics["splits"]) for g in (*self.chosen, *self.baselines)), {})
