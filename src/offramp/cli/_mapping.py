"""A network mapped to a device's cores, printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from offramp.cli._print import print_json, print_table

if TYPE_CHECKING:
    from offramp.architecture import Architecture
    from offramp.cost import Mapping, Reference

_TOLD = (
    "device", "cores", "mode", "objective", "clock_mhz", "energy_mj", "latency_ms", "overhead_mj",
    "stage_energy_mj", "stage_latency_ms",
)  # fmt: skip


class _Mapped(NamedTuple):
    """The mapping, the shares that its means are over, and the static networks beside it, by name."""

    mapping: Mapping
    shares: list[float]
    static: dict[str, Reference]


def print_mapping(
    architecture: Architecture, device: str, mode: str, objective: str, shares: list[float] | None
) -> None:
    """Two tables: what leaving at each exit costs, with means, and where each layer runs."""
    found = _mapped(architecture, device, mode, objective, shares)
    mapping = found.mapping
    title = f"{mapping.device}, {mapping.cores} cores, {mapping.mode}, least {mapping.objective}"
    columns = ["leaving at", "share", "ms", "uJ", "overhead uJ", "ET (J x cycles)"]
    print_table(title, columns, [*_exit_rows(found, architecture.exits), *_mean_rows(found), *_static_rows(found)])
    columns = ["part", "layer", "cores", "split", "from", "to"]
    print_table("where each layer runs, in cycles", columns, _layer_rows(mapping))


def print_mapping_json(
    architecture: Architecture, device: str, mode: str, objective: str, shares: list[float] | None
) -> None:
    """The same as one record."""
    mapping, given, static = _mapped(architecture, device, mode, objective, shares)
    print_json({
        **{name: getattr(mapping, name) for name in _TOLD},
        "shares": given,
        "mean_latency_ms": mapping.mean_latency(given),
        "mean_energy_mj": mapping.mean_energy(given),
        "exit_overhead_mj": mapping.mean_overhead(given),
        "et_avg": mapping.et(given),
        "et_of_means": mapping.et_of_means(given),
        "static": {name: reference._asdict() for name, reference in static.items()},
        "runs": [run._asdict() for run in mapping.runs],
    })  # fmt: skip


def _mapped(architecture: Architecture, device: str, mode: str, objective: str, shares: list[float] | None) -> _Mapped:
    from offramp.cost import backbone_alone, map_network

    found = map_network(architecture, device, mode, objective, shares)  # type: ignore[arg-type]  # checked there
    exits = len(architecture.exits)
    static = {
        "backbone alone": backbone_alone(architecture, device, found.objective),
        "all exits, full depth": found.full_depth,
    }
    return _Mapped(found, shares or [1 / exits] * exits, static)


def _exit_rows(found: _Mapped, stages: tuple[int, ...]) -> list[list[Any]]:
    mapping = found.mapping
    exits = zip(stages, found.shares, mapping.latency_ms, mapping.energy_mj, mapping.overhead_mj)
    return [
        [f"exit {k} (stage {stage})", f"{share:.1%}", *_cells(ms, mj, wasted, ms * mj * mapping.clock_mhz)]
        for k, (stage, share, ms, mj, wasted) in enumerate(exits)
    ]


def _mean_rows(found: _Mapped) -> list[list[Any]]:
    mapping, shares, _ = found
    means = (mapping.mean_latency, mapping.mean_energy, mapping.mean_overhead, mapping.et)
    return [
        ["mean", "", *_cells(*(mean(shares) for mean in means))],
        ["mean energy x mean latency", "", "", "", "", f"{mapping.et_of_means(shares):.4g}"],
    ]


def _static_rows(found: _Mapped) -> list[list[Any]]:
    return [[f"static: {name}", "", *_cells(r.latency_ms, r.energy_mj, None, r.et)] for name, r in found.static.items()]


def _cells(ms: float, mj: float, overhead_mj: float | None, et: float) -> list[str]:
    return [f"{ms:.4g}", f"{mj * 1e3:.4g}", "" if overhead_mj is None else f"{overhead_mj * 1e3:.4g}", f"{et:.4g}"]


def _layer_rows(mapping: Mapping) -> list[list[Any]]:
    return [
        [f"stage {run.stage}" if run.exit is None else f"  exit {run.exit}", run.layer, " ".join(map(str, run.cores)),
         run.split, f"{run.start:,.0f}", f"{run.end:,.0f}"]
        for run in mapping.runs
    ]  # fmt: skip
