"""The data of the front's figure: every trial, what it is compared with, and the network behind each point."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from offramp.architecture import Architecture
from offramp.report._delivered import Delivered, Group
from offramp.report._files import Files
from offramp.report._numbers import percent
from offramp.report._outline import outline
from offramp.report._words import metric
from offramp.search import METRICS
from offramp.search.constraint import Constraint
from offramp.search.loop import INITIAL

OUTLINE_BYTES = 1_500_000
"""The most that the drawings of trials may take; trials on a front come first."""
_SHARES = ("accuracy", "error", "penalised_error")
_COSTS = tuple(name for name in METRICS if name not in _SHARES)


@dataclass
class _Outlines:
    """Drawings, each once, up to a limit of bytes."""

    left: int
    drawn: list[Any] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)

    def place(self, architecture: Architecture) -> int | None:
        """Where the drawing of `architecture` is; None where there was no room for it."""
        if architecture.key not in self.places:
            made = outline(architecture)
            self.left -= len(json.dumps(made))
            if self.left < 0:
                return None
            self.places[architecture.key] = len(self.drawn)
            self.drawn.append(made)
        return self.places[architecture.key]


def front_data(files: Files, limit: int = OUTLINE_BYTES) -> dict[str, Any] | None:
    """What the figure and its panel are drawn from; None where no trial succeeded.

    `trials` and `delivered` are the points, `outlines` the networks they refer to by number, `axes` the costs to choose
    from; `linked` tells whether the front's points lie on one line in the first of them.
    """
    if files.front is None:
        return None
    # Those trained longer are other measurements of the same networks: they have a figure of their own.
    good = [trial for trial in files.front["trials"] if trial["metrics"] and trial["study"] != "retrained"]
    if not good:
        return None
    outlines = _Outlines(limit)
    # The front's drawings are made first, so that they are the last to fall to the limit.
    for trial in sorted(good, key=lambda trial: not trial["front"]):
        outlines.place(_architecture(trial))
    objectives, axes = files.front["objectives"], cost_axes(files.front)
    networks = [(group, member) for group in (*files.chosen, *files.baselines) for member in group.members]
    return {
        "trials": [_point(trial, outlines, files.chosen) for trial in good],
        "delivered": [_delivered(group, member, outlines) for group, member in networks],
        "axes": [{"name": name, "label": metric(name)} for name in axes],
        "linked": set(objectives) in ({"accuracy", axes[0]}, {"error", axes[0]}),
        "constraints": [_constraint(text) for text in files.front["constraints"]],
        "outlines": outlines.drawn,
        "split": files.front["split"],
        "n": files.front["n"],
    }


def cost_axes(front: dict[str, Any]) -> list[str]:
    """The costs that can stand on the horizontal axis, the recipe's own objectives first."""
    own = [name for name in front["objectives"] if name not in _SHARES]
    measured: dict[str, float] = next((trial["metrics"] for trial in front["trials"] if trial["metrics"]), {})
    rest = [name for name in _COSTS if name in measured]
    return list(dict.fromkeys([*own, *rest])) or ["mean_macs"]


def start(data: dict[str, Any]) -> int:
    """Which trial the panel shows first: the delivered one, else the most accurate of the front, else of all."""
    trials = data["trials"]

    def rank(i: int) -> tuple[Any, ...]:
        trial = trials[i]
        return (trial["chosen"] is not None, trial["front"], trial["study"] == "search", trial["metrics"]["accuracy"])

    return max(range(len(trials)), key=rank)


def front_sentences(files: Files) -> list[str]:
    """What the figure cannot say: how many trials there are, which failed, what is missing."""
    if files.front is None:
        return ["The search has not finished: front.json is not there yet."]
    found, trials = [], files.front["trials"]
    if not trials:
        return ["Nothing was searched: the recipe names its networks."]
    for study, name in (("search", "The search"), ("random", "Random search")):
        of_study = [trial for trial in trials if trial["study"] == study]
        if of_study:
            good, on_front = sum(t["feasible"] for t in of_study), sum(t["front"] for t in of_study)
            failed = sum(not t["metrics"] for t in of_study)
            best = max((t["metrics"]["accuracy"] for t in of_study if t["feasible"]), default=None)
            found.append(
                f"{name} evaluated {_plural(len(of_study), 'network')}: {good} kept all constraints, "
                f"{on_front} make its front{f', {failed} failed' if failed else ''}."
            )
            if best is not None:
                found[-1] += f" The most accurate of these reached {percent(best)} on {files.front['split']}."
            if study == "random" and (shared := _shared(trials)):
                found[-1] += (
                    f" {shared} of its {len(of_study)} networks are the search's own first ones: the two differ in "
                    "what came after."
                )
    retrained = [trial for trial in trials if trial["study"] == "retrained"]
    if retrained:
        found.append(
            f"{_plural(len(retrained), 'candidate')} of its last batches were trained by the final schedule and scored "
            f"on {files.front['split']} again; networks were chosen among these, where one kept to the budget."
        )
    if not any(trial["study"] == "random" for trial in trials):
        found.append("Random search was not run beside it, so nothing shows what the search itself is worth.")
    if trials and not any(trial["feasible"] for trial in trials):
        found.append("No trial kept all constraints, so there is no front; every point is shown faint.")
    return found


def failures(files: Files) -> list[dict[str, Any]]:
    """The trials that failed, and why."""
    trials = files.front["trials"] if files.front else []
    return [{key: t[key] for key in ("study", "number", "failure")} for t in trials if not t["metrics"]]


def _shared(trials: Sequence[dict[str, Any]]) -> int:
    """How many trials of random search are those that the search itself began with: both draw them in the same way."""
    first = {_architecture(t) for t in trials if t["study"] == "search" and t["proposer"] == INITIAL}
    return sum(t["study"] == "random" and t["proposer"] == INITIAL and _architecture(t) in first for t in trials)


def _point(trial: dict[str, Any], outlines: _Outlines, chosen: Sequence[Group]) -> dict[str, Any]:
    architecture = _architecture(trial)
    kept = ("study", "number", "proposer", "feasible", "front", "metrics")
    found = {key: trial[key] for key in kept}
    # The policy and what the exits do are absent from evaluations that do not tell.
    found |= {key: trial.get(key) for key in ("utilisation", "exit_accuracy", "exit_macs", "policy")}
    source = next((group.name for group in chosen if _came_from(group.first.architecture, architecture)), None)
    return found | {"outline": outlines.place(architecture), "chosen": source if trial["study"] == "search" else None}


def _delivered(group: Group, member: Delivered, outlines: _Outlines) -> dict[str, Any]:
    metrics = member.metrics
    shown = {"accuracy": metrics["test_accuracy"], **{key: metrics[key] for key in _COSTS if key in metrics}}
    shown |= {f"mean_{key}": metrics[key] for key in ("energy_mj", "latency_ms") if key in metrics}
    return {
        "name": member.name,
        "static": group.is_baseline,
        "seed": metrics["seed"],
        "n": member.n,
        "metrics": shown,
        "utilisation": metrics["utilisation"],
        "exit_accuracy": [record["accuracy"] for record in member.exits],
        "exit_macs": [record["macs"] for record in member.exits],
        "policy": member.policy.to_dict(),
        "outline": outlines.place(member.architecture),
    }


def _came_from(delivered: Architecture, trial: Architecture) -> bool:
    """Whether `delivered` is `trial`, perhaps without exits that nobody used."""
    return set(delivered.exits) <= set(trial.exits) and trial.with_exits(delivered.exits) == delivered


def _constraint(text: str) -> dict[str, Any]:
    parsed = Constraint.parse(text)
    return {"metric": parsed.metric, "bound": parsed.bound, "at_least": parsed.at_least}


def _architecture(trial: dict[str, Any]) -> Architecture:
    return Architecture.model_validate(trial["architecture"])


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
