"""The picture of a network: stages above a road as wide as the share of images still on it, exits as ramps off it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from offramp.layers import Shape
from offramp.report._delivered import Delivered
from offramp.report._labels import shape_label
from offramp.report._numbers import percent, si, threshold
from offramp.report._outline import outline
from offramp.report._words import measure

LINE = 17.0
COLUMN = (198.0, 244.0)
WIDTH = 1088.0
_MARGIN, _GAP, _PAD = 92.0, 14.0, 12.0
_START = 74.0
_TOP, _ROAD, _RAMP = 10.0, 46.0, 58.0
_HEAD, _FOOT = 46.0, 36.0


@dataclass(frozen=True)
class Line:
    """A text in the picture."""

    x: float
    y: float
    text: str
    kind: str
    anchor: str = "start"


@dataclass(frozen=True)
class Bar:
    """A bar from `x`, of `width` out of `full`."""

    x: float
    y: float
    width: float
    full: float


@dataclass(frozen=True)
class Box:
    """A rounded box and what is in it; `exit` is the exit's number, None for a stage."""

    x: float
    y: float
    width: float
    height: float
    lines: tuple[Line, ...]
    bar: Bar
    exit: int | None = None


@dataclass(frozen=True)
class Band:
    """A piece of the road (`exit` None) or the ramp of an exit, as an SVG path; `empty` where nobody takes it."""

    path: str
    exit: int | None = None
    empty: bool = False


@dataclass(frozen=True)
class Drawing:
    """Everything that the SVG template draws, in pixels."""

    width: float
    height: float
    stages: tuple[Box, ...]
    exits: tuple[Box, ...]
    bands: tuple[Band, ...]
    notes: tuple[Line, ...]
    image: tuple[float, float, float]
    title: str


def drawing(network: Delivered) -> Drawing:
    """Lay out the picture of a delivered network; shares and accuracies are those of the test split."""
    records = outline(network.architecture, network.costs)
    column = min(max((WIDTH - _MARGIN - 6) / len(records), COLUMN[0]), COLUMN[1])
    most = max([r["macs"] for r in records] + [r["exit"]["macs"] for r in records if r["exit"]]) or 1
    positions = network.architecture.exits
    lefts = [_MARGIN + column * i for i in range(len(records))]
    stage_height = _HEAD + LINE * max(len(r["blocks"]) for r in records) + _FOOT
    road = _TOP + stage_height + 34
    exit_top = road + _ROAD + _RAMP
    stages = tuple(
        _stage(i, record, left, column, stage_height, most) for i, (record, left) in enumerate(zip(records, lefts))
    )
    exits = tuple(
        _exit(e, network, records[position]["exit"], lefts[position], column, exit_top, most)
        for e, position in enumerate(positions)
    )
    shares = [float(share) for share in network.metrics["utilisation"]]
    bands, notes = _road(positions, shares, lefts, column, road, exit_top)
    centre = road + _ROAD / 2
    return Drawing(
        width=lefts[-1] + column + 6,
        height=exit_top + max(box.height for box in exits) + 10,
        stages=stages,
        exits=exits,
        bands=tuple(bands),
        notes=(*notes, Line(40, centre + 42, shape_label(Shape(*network.architecture.input)), "note", "middle")),
        image=(12.0, centre - 28, 56.0),
        title=f"{network.name}: {len(records)} stages, {len(positions)} {'exit' if len(positions) == 1 else 'exits'}",
    )


def _stage(number: int, record: dict[str, Any], left: float, column: float, height: float, most: int) -> Box:
    x, width = left + _GAP / 2, column - _GAP
    inner = width - 2 * _PAD
    lines = [
        Line(x + _PAD, _TOP + 21, f"Stage {number}", "head"),
        Line(x + width - _PAD, _TOP + 21, record["map"], "map", anchor="end"),
        *_texts(x + _PAD, _TOP + _HEAD, record["blocks"], "code"),
        Line(x + _PAD, _TOP + height - 21, f"{si(record['macs'])} MACs", "small"),
    ]
    bar = Bar(x + _PAD, _TOP + height - 14, inner * record["macs"] / most, inner)
    return Box(x, _TOP, width, height, tuple(lines), bar)


def _exit(
    number: int, network: Delivered, branch: dict[str, Any], left: float, column: float, top: float, most: int
) -> Box:
    x, width, record = left + _GAP / 2, column - _GAP, network.exits[number]
    inner, at = width - 2 * _PAD, left + _GAP / 2 + _PAD
    limit = record["threshold"]
    rule = "takes all that is left" if limit is None else f"{measure(network.policy.measure)} ≥ {_limit(limit)}"
    right = record.get("accuracy_of_leavers")
    facts = [rule, f"{percent(right)} of them right" if right is not None else "nobody leaves here"]
    facts.append(f"{percent(record['accuracy'])} on all images")
    layers_at = top + 52 + LINE * len(facts) + 10
    macs_at = layers_at + LINE * len(branch["layers"]) + 6
    lines = [
        Line(at, top + 27, f"Exit {number}", "head"),
        Line(x + width - _PAD, top + 28, percent(record["share"]), "share", anchor="end"),
        *_texts(at, top + 50, facts, "fact"),
        *_texts(at, layers_at, branch["layers"], "code"),
        Line(at, macs_at, f"branch {si(branch['macs'])} MACs", "small"),
        Line(at, macs_at + 32, f"up to here {si(record['macs'])} MACs", "small strong"),
    ]
    bar = Bar(at, macs_at + 7, inner * branch["macs"] / most, inner)
    return Box(x, top, width, macs_at + 46 - top, tuple(lines), bar, number)


def _road(
    positions: tuple[int, ...], shares: list[float], lefts: list[float], column: float, road: float, exit_top: float
) -> tuple[list[Band], list[Line]]:
    """The road, which narrows at every exit, and the ramps that leave it."""
    ramps, notes, staying, steps = [], [], 1.0, []
    for stage, left in enumerate(lefts):
        ramp_from = left + column * 0.46
        notes.append(Line(left + _GAP / 2 + 2, road - 9, f"{percent(staying)} of images", "note"))
        steps.append((ramp_from, _ROAD * staying))
        if stage in positions:
            number = positions.index(stage)
            bottom, landing = road + _ROAD * staying, left + column * 0.76
            ramps.append(_ramp(number, ramp_from, landing, bottom, exit_top, _ROAD * shares[number]))
            staying = max(staying - shares[number], 0.0)
    return [Band(_road_path(_START, road, steps)), *ramps], notes


def _road_path(start: float, top: float, steps: list[tuple[float, float]]) -> str:
    """One outline: along the top to the last ramp, and back along a bottom that is as thick as each step says."""
    lefts = [start, *(right for right, _ in steps[:-1])]
    back = "".join(f"V{top + thick:.1f}H{left:.1f}" for left, (_, thick) in zip(reversed(lefts), reversed(steps)))
    return f"M{start:.1f} {top:.1f}H{steps[-1][0]:.1f}{back}Z"


def _ramp(number: int, left: float, landing: float, bottom: float, end: float, thick: float) -> Band:
    """From the road's lowest lanes down to the exit's box; `thick` is kept, and at least visible."""
    shown = max(thick, 1.5)
    top, outer, inner = bottom - shown, landing + shown / 2, landing - shown / 2
    path = (
        f"M{left:.1f} {top:.1f}C{outer:.1f} {top:.1f} {outer:.1f} {top:.1f} {outer:.1f} {end:.1f}"
        f"H{inner:.1f}C{inner:.1f} {bottom:.1f} {inner:.1f} {bottom:.1f} {left:.1f} {bottom:.1f}Z"
    )
    return Band(path, number, empty=thick == 0)


def _texts(x: float, y: float, texts: Iterable[str], kind: str) -> list[Line]:
    return [Line(x, y + LINE * i, text, kind) for i, text in enumerate(texts)]


def _limit(value: float | str) -> str:
    """Shorter than in the table of exits, which has all digits that matter."""
    return threshold(value, digits=3).split(":")[0]
