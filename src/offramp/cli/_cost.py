"""A network's cost, printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offramp.cli._print import mega, print_json, print_table

if TYPE_CHECKING:
    from offramp.cost import LayerCost, NetworkCost


def print_cost(device: str, found: NetworkCost) -> None:
    """A table with a row for each stage and exit branch."""
    from offramp.cost import MAC_RULES

    leaving = {rule: found.leaving("macs", rule) for rule in MAC_RULES}
    rows, number, timed = [], 0, found.total.latency_ms > 0
    for i, (stage, branch) in enumerate(zip(found.stages, found.branches)):
        rows.append([f"stage {i}", *_cells(stage, timed), "", ""])
        if branch is not None:
            upto = (mega(leaving[rule][number]) for rule in MAC_RULES)
            rows.append([f"  exit {number}", *_cells(branch, timed), *upto])
            number += 1
    rows.append(["all", *_cells(found.total, timed), "", ""])
    columns = ["part", "MMACs", "params", "weights KiB", "activations KiB", *(["ms", "uJ"] if timed else [])]
    print_table(f"device: {device}", [*columns, *(f"up to exit ({rule})" for rule in MAC_RULES)], rows)


def print_cost_json(device: str, found: NetworkCost) -> None:
    """Every stage and branch, their sum, and by MAC rule what leaving at each exit costs."""
    from offramp.cost import MAC_RULES

    record = {
        "device": device,
        "stages": [
            {"stage": stage._asdict(), "branch": branch._asdict() if branch else None}
            for stage, branch in zip(found.stages, found.branches)
        ],
        "total": found.total._asdict(),
    }
    for metric in ("macs", "latency_ms", "energy_mj"):
        if metric == "macs" or getattr(found.total, metric) > 0:
            record[f"{metric}_by_exit"] = {rule: found.leaving(metric, rule) for rule in MAC_RULES}
    print_json(record)


def _cells(part: LayerCost, timed: bool) -> list[str]:
    kib = [f"{size / 1024:.1f}" for size in (part.weight_bytes, part.activation_bytes)]
    energy = f"{part.energy_mj * 1e3:.2f}" if part.energy_mj > 0 else "-"
    return [mega(part.macs), f"{part.params:,}", *kib, *([f"{part.latency_ms:.4f}", energy] if timed else [])]
