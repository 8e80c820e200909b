"""One network, many budgets: a trained network's curve beside the networks that the search found one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from offramp.report._delivered import Delivered, Group
from offramp.report._files import Files
from offramp.report._numbers import count, percent, points, si
from offramp.report._words import EVALUATORS, listed


def budgets_data(files: Files) -> dict[str, Any] | None:
    """What the two figures are drawn from; None where no network with early exits was delivered.

    `curves` has, for every delivered network with several exits, its points on select and test, in order of cost;
    `fronts` the feasible non-dominated networks of the search and, where there are some, of the candidates trained
    longer; `delivered` and `statics` the trained networks as they were tested.
    """
    shown = _curves(files.chosen)
    if not shown:
        return None
    return {
        "curves": shown,
        "fronts": _fronts(files),
        "delivered": _tested(files.chosen),
        "statics": _tested(files.baselines),
    }


def budgets_sentences(files: Files) -> list[str]:
    """What the curves are, how the points beside them were measured, and what came out."""
    found = [_kinds(files)]
    if files.front is not None:
        f, split = files.front, f"{files.front['split']} split, n = {count(files.front['n'])}"
        how = EVALUATORS.get(f.get("evaluator", ""), f"under {f.get('evaluator')} evaluation")
        found.append(f"The front's networks, each another one: {split}, {how}. That favours the trained curve.")
        if _trials(files, "retrained"):
            found.append(
                "Their last candidates were also trained by the final schedule, and scored on the same images."
            )
    if files.chosen:
        found += [sentence for group in files.chosen for sentence in _against(group, files)]
    return found


def _kinds(files: Files) -> str:
    early = [group.first for group in files.chosen if not group.first.is_static]
    whole = [network.name for network in early if network.subsets is not None]
    parts = []
    if whole:
        parts.append(
            f"Each line is one trained network, at all thresholds and with all subsets of its exits: {listed(whole)}."
        )
    if rest := [network.name for network in early if network.subsets is None and network.curve is not None]:
        parts.append(f"At all thresholds, every exit kept: {listed(rest)} (its folder has no subsets.json).")
    parts.append("Points were tuned on select; beside, what they come to on test.")
    return " ".join(parts)


def _against(group: Group, files: Files) -> list[str]:
    """The network's curve on test against the other trained ones, at equal cost."""
    network, reached = group.first, _points(group.first)
    others = [other.first for other in (*files.chosen, *files.baselines) if other is not group]
    told = []
    for other in others if reached else []:
        macs = other.metrics["mean_macs"]
        within = [p for p in reached if p["test"]["mean_macs"] <= macs]
        if not within:
            continue
        # By select, as a user chooses: the best on test would be picked by the answer.
        own = max(within, key=lambda p: p["select"]["accuracy"])["test"]
        gain = own["accuracy"] - other.metrics["test_accuracy"]
        rival = f"{other.name} ({percent(other.metrics['test_accuracy'], 2)} at {si(macs)})"
        more = f"{points(gain, 2)} {'more' if gain > 0 else 'less'} than"
        told.append(f"{'as much as' if abs(gain) < 5e-5 else more} {rival}")
    if not told:
        return []
    return [f"Within the mean MACs of other trained networks, {network.name} reaches on test {'; '.join(told)}."]


def _curves(groups: Sequence[Group]) -> list[dict[str, Any]]:
    networks = [group.first for group in groups]
    found = [{"name": n.name, "whole": n.subsets is not None, "points": _points(n)} for n in networks]
    return [curve for curve in found if curve["points"]]


def _points(network: Delivered) -> list[dict[str, Any]]:
    """Operating points, cheapest first; of all exit subsets where the folder tells, else of all exits."""
    if network.is_static:
        return []
    chosen = network.subsets if network.subsets is not None else network.curve or []
    whole = list(range(len(network.exits)))
    return [{"select": p["select"], "test": p["test"], "exits": p.get("exits", whole)} for p in chosen]


def _fronts(files: Files) -> list[dict[str, Any]]:
    names = {"search": "Search: front", "retrained": "Last candidates, trained longer"}
    found = []
    for study, name in names.items():
        front = _undominated([t["metrics"] for t in _trials(files, study) if t["feasible"]])
        if front:
            found.append({"study": study, "name": name, "points": front})
    return found


def _undominated(metrics: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Accuracy and mean MACs that no cheaper network equals, cheapest first."""
    best, found = -1.0, []
    for one in sorted(metrics, key=lambda m: (m["mean_macs"], -m["accuracy"])):
        if one["accuracy"] > best:
            best = one["accuracy"]
            found.append({"accuracy": best, "mean_macs": one["mean_macs"]})
    return found


def _trials(files: Files, study: str) -> list[dict[str, Any]]:
    trials = files.front["trials"] if files.front else []
    return [t for t in trials if t["study"] == study and {"accuracy", "mean_macs"} <= set(t["metrics"])]


def _tested(groups: Sequence[Group]) -> list[dict[str, Any]]:
    return [
        {"name": m.name, "accuracy": m.metrics["test_accuracy"], "mean_macs": m.metrics["mean_macs"]}
        for group in groups
        for m in group.members
    ]
