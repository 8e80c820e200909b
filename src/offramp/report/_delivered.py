"""A delivered network as its folder describes it, and the group that one budget's seeds make."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from offramp.architecture import Architecture
from offramp.cost import NetworkCost, cost
from offramp.policy import Policy, ScoreTable, as_accurate
from offramp.report._numbers import Spread
from offramp.report._words import MEAN_COSTS
from offramp.run_folder import read_json

_SEEDED = re.compile(r"(?P<name>.+)-seed-?\d+")
_BASELINE = "static-"
_NEEDED = (
    "splits", "exits", "seed", "select", "test_accuracy", "mean_macs", "mac_rule", "static_accuracy", "static_macs",
    "utilisation", "params", "weight_bytes", "activation_bytes",
)  # fmt: skip
"""What every version wrote into `metrics.json`."""


@dataclass(frozen=True)
class Delivered:
    """One folder of `chosen/`; figures are those of its `metrics.json`, on the test split."""

    folder: Path
    metrics: dict[str, Any]
    architecture: Architecture
    policy: Policy

    @classmethod
    def read(cls, folder: Path) -> Delivered:
        """Read a finished folder; ValueError or OSError that names the file where one is missing or damaged."""
        try:
            architecture = Architecture.load(folder / "architecture.json")
            policy = Policy.from_json((folder / "policy.json").read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{folder}: architecture.json or policy.json is damaged: {error}") from error
        return cls(folder, read_json(folder / "metrics.json", _NEEDED), architecture, policy)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def n(self) -> int:
        """Number of test images."""
        return int(self.metrics["splits"]["test"])

    @property
    def exits(self) -> list[dict[str, Any]]:
        """The records of `metrics.json`, one per exit."""
        return list(self.metrics["exits"])

    @property
    def is_static(self) -> bool:
        """Whether it has one exit only."""
        return len(self.exits) == 1

    @cached_property
    def costs(self) -> NetworkCost:
        """Analytic costs, per stage and branch."""
        return cost(self.architecture)

    @cached_property
    def curve(self) -> list[dict[str, Any]] | None:
        """The operating points of `curve.json`, cheapest first; None where there is no such file."""
        path = self.folder / "curve.json"
        return list(read_json(path)) if path.exists() else None

    @cached_property
    def device_curve(self) -> dict[str, Any] | None:
        """`device_curve.json`: the mean cost that its `points` were tuned for is `metric`; None without the file."""
        path = self.folder / "device_curve.json"
        return dict(read_json(path, ("metric", "points"))) if path.exists() else None

    def as_accurate(self, accuracy: float, metric: str) -> dict[str, float] | None:
        """What the cheapest thresholds by the mean cost `metric` that have this accuracy on select come to on test.

        Those of `curve.json`, or of the device's where that was tuned for `metric`, and the delivered ones. None where
        none is that accurate.
        """
        curve = self.curve or []
        if self.device_curve is not None and self.device_curve["metric"] == metric:
            curve = self.device_curve["points"]
        tested = {"accuracy": self.metrics["test_accuracy"], metric: self.metrics[MEAN_COSTS[metric][0]]}
        every = [*curve, {"select": self.metrics["select"], "test": tested}]
        points = [point for point in every if metric in point["select"]]  # folders of earlier versions lack some
        select = [point["select"] for point in points]
        best = as_accurate(accuracy, [s["accuracy"] for s in select], [s[metric] for s in select])
        return None if best is None else points[best]["test"]

    @cached_property
    def subsets(self) -> list[dict[str, Any]] | None:
        """The operating points of `subsets.json`, of all subsets of its exits, cheapest first; None without it."""
        path = self.folder / "subsets.json"
        return list(read_json(path)) if path.exists() else None

    @cached_property
    def scores(self) -> ScoreTable | None:
        """What every exit said of the test split; None where the file is missing."""
        path = self.folder / "test_scores.npz"
        return ScoreTable.load(path) if path.exists() else None


@dataclass(frozen=True)
class Group:
    """The networks of one budget, one per seed; the first was exported and is the one drawn."""

    name: str
    members: tuple[Delivered, ...]

    @property
    def first(self) -> Delivered:
        """The network that stands for the group."""
        return self.members[0]

    @property
    def is_baseline(self) -> bool:
        """Whether it is a static network that was trained for comparison."""
        return self.first.is_static and self.name.startswith(_BASELINE)

    @property
    def seeds(self) -> list[int]:
        """The seed of each member."""
        return [int(member.metrics["seed"]) for member in self.members]

    def spread(self, key: str) -> Spread:
        """Mean and deviation of a figure of `metrics.json`."""
        return self.spread_of(lambda member: float(member.metrics[key]))

    def spread_of(self, figure: Callable[[Delivered], float]) -> Spread:
        """Mean and deviation of any figure."""
        return Spread.of([figure(member) for member in self.members])

    @property
    def select_accuracy(self) -> float:
        """On the split that thresholds are tuned on."""
        return self.spread_of(lambda member: float(member.metrics["select"]["accuracy"])).mean

    def as_accurate(self, static: Group, metric: str) -> tuple[Spread, Spread] | None:
        """Accuracy and the mean cost `metric` on test, of `Delivered.as_accurate` as `static` is on select.

        None where a member never is.
        """
        found = [member.as_accurate(static.select_accuracy, metric) for member in self.members]
        tests = [test for test in found if test is not None]
        if len(tests) < len(found):
            return None
        return Spread.of([t["accuracy"] for t in tests]), Spread.of([t[metric] for t in tests])


def groups(networks: Sequence[Delivered], order: Sequence[str] = ()) -> list[Group]:
    """Networks gathered by budget; those named in `order` first, the rest by mean MACs."""
    names = {network.name for network in networks}
    found: dict[str, list[Delivered]] = {}
    for network in sorted(networks, key=lambda network: (int(network.metrics["seed"]), network.name)):
        found.setdefault(_budget(network.name, names), []).append(network)
    for name, members in found.items():
        # The unseeded folder is the exported one, whatever its seed.
        members.sort(key=lambda member: member.name != name)
    made = [Group(name, tuple(members)) for name, members in found.items()]
    places = {name: i for i, name in enumerate(order)}
    return sorted(made, key=lambda group: (places.get(group.name, len(places)), group.first.metrics["mean_macs"]))


def budget_order(recipe: Path) -> list[str]:
    """The names of the budgets as the recipe lists them; none where it cannot be read."""
    try:
        budgets = tomllib.loads(recipe.read_text(encoding="utf-8")).get("deliver", {}).get("budgets", [])
        return [budget["name"] for budget in budgets]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []  # the order is a nicety; a report must not fail for it


def _budget(name: str, names: set[str]) -> str:
    match = _SEEDED.fullmatch(name)
    return match["name"] if match and match["name"] in names else name
