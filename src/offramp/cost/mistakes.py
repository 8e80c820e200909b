"""Mistakes between the parts of a device file, which no part shows alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import Any

_READS, _WRITES = ("tl", "th"), ("fh", "fl")
_BELOW = ("fh", "tl")  # weights and inputs only go down, towards the array; outputs also come back up
_MOVES = {"W": _BELOW, "I": _BELOW, "O": ("fh", "tl", "fl", "th")}


def mistakes(raw: dict[str, Any]) -> Iterator[str]:
    """A line for each, by its path, as far as the parts of `raw` can be read; what is wrong in itself is not told."""
    found = _table(raw, "array").get("sizes")
    sizes: dict[str, Any] | None = found if isinstance(found, dict) else None
    if sizes is not None:
        for dimension in _list(_table(raw, "array"), "systolic"):
            if isinstance(dimension, str) and dimension not in sizes:
                yield f"array.systolic: {dimension!r} is no dimension of the array ({', '.join(sizes)})"
    yield from _memories([m for m in _list(raw, "memory") if isinstance(m, dict)], sizes)
    yield from _mapping(_table(raw, "mapping"), sizes)
    yield from _mesh(raw)


def _memories(memories: list[dict[str, Any]], sizes: dict[str, Any] | None) -> Iterator[str]:
    names: set[str] = set()
    for i, memory in enumerate(memories):
        path = f"memory.{i}"
        if str(memory.get("name")) in names:
            yield f"{path}.name: {memory.get('name')!r} is there twice"
        names.add(str(memory.get("name")))
        for dimension in _list(memory, "serves"):
            if sizes is not None and isinstance(dimension, str) and dimension not in sizes:
                yield f"{path}.serves: {dimension!r} is no dimension of the array ({', '.join(sizes)})"
        yield from _ports(path, _list(memory, "operands"), memory.get("ports"))
    if memories:
        last = f"memory.{len(memories) - 1}"
        missing = [operand for operand in _MOVES if operand not in _list(memories[-1], "operands")]
        if missing:
            yield f"{last}.operands: the last memory is off chip and must hold W, I and O; {', '.join(missing)} missing"
        if sizes is not None and set(map(str, _list(memories[-1], "serves"))) != set(sizes):
            yield f"{last}.serves: the last memory must serve every dimension of the array ({', '.join(sizes)})"


def _ports(path: str, operands: list[Any], ports: object) -> Iterator[str]:
    if not isinstance(ports, list):
        return
    seen: Counter[str] = Counter()
    for j, port in enumerate(ports):
        if not isinstance(port, dict):
            continue
        bits = port.get("bits")
        if isinstance(bits, list) and len(bits) == 2 and all(isinstance(b, int) for b in bits) and bits[0] > bits[1]:
            yield f"{path}.ports.{j}.bits: is {bits}; the smallest comes first"
        for move in _list(port, "moves"):
            operand, _, direction = str(move).partition(" ")
            if operand not in _MOVES or direction not in (*_READS, *_WRITES):
                continue
            seen[f"{operand} {direction}"] += 1
            told = f"{path}.ports.{j}.moves: {move!r}"
            if operand not in operands:
                yield f"{told} is for an operand that the memory does not hold"
            elif direction not in _MOVES[operand]:
                yield f"{told} is none of {operand}'s, which are {', '.join(_MOVES[operand])}"
            if port.get("type") in ("read", "write") and direction in (_WRITES if port["type"] == "read" else _READS):
                other = "write" if port["type"] == "read" else "read"
                yield f"{told} needs a {other} or read_write port; this one is {port['type']}"
    yield from (f"{path}.ports: {move!r} is there {n} times; one port has it" for move, n in seen.items() if n > 1)
    for operand in (o for o in _MOVES if o in operands):
        missing = [f"{operand} {direction}" for direction in _MOVES[operand] if not seen[f"{operand} {direction}"]]
        if missing:
            yield f"{path}.ports: none has {', '.join(missing)}, which {operand} in this memory needs"


def _mapping(mapping: dict[str, Any], sizes: dict[str, Any] | None) -> Iterator[str]:
    for kind in mapping:
        unrolling = _table(mapping, kind)
        for dimension, loops in unrolling.items():
            path = f"mapping.{kind}.{dimension}"
            if sizes is None:
                continue
            if dimension not in sizes:
                yield f"{path}: no dimension of the array ({', '.join(sizes)})"
                continue
            numbers = (sizes[dimension], *(loops.values() if isinstance(loops, dict) else ()))
            if all(isinstance(n, int) for n in numbers) and prod(numbers[1:]) > numbers[0]:
                yield f"{path}: unrolls {prod(numbers[1:])}; the array has {numbers[0]} there"
    # Their channels are groups of one: without G most of the array would idle.
    depthwise = mapping.get("depthwise")
    if isinstance(depthwise, dict) and not any("G" in loops for loops in depthwise.values() if isinstance(loops, dict)):
        yield "mapping.depthwise: unrolls no G; a depthwise layer's channels are groups, so one dimension must have G"


def _mesh(raw: dict[str, Any]) -> Iterator[str]:
    mesh, cores = _table(raw, "mesh"), raw.get("cores", 1)
    columns, rows = mesh.get("columns"), mesh.get("rows")
    if isinstance(cores, int) and isinstance(columns, int) and isinstance(rows, int) and 0 < columns * rows < cores:
        yield f"cores: is {cores}; the mesh has {columns} x {rows} places, so at most {columns * rows}"
    memories = _list(raw, "memory")
    if mesh.get("offchip_pj") and memories and isinstance(memories[-1], dict) and memories[-1].get("read_pj") == 0:
        last = f"memory.{len(memories) - 1}.read_pj"
        yield f"mesh.offchip_pj: scales what the last memory takes, and {last} is 0; give it some energy, too"


def _table(raw: dict[str, Any], name: str) -> dict[str, Any]:
    found = raw.get(name)
    return found if isinstance(found, dict) else {}


def _list(raw: dict[str, Any], name: str) -> list[Any]:
    found = raw.get(name)
    return found if isinstance(found, list) else []
