"""What a device is: a TOML file with its array, memories, mapping and vector units, checked as a whole."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationError

OPERANDS = ("W", "I", "O")
"""Weights, input activations, output activations."""

LOOPS = ("K", "C", "G", "OX", "OY", "FX", "FY")
"""Loops of a convolution: output, input channels of a group, groups, output columns, rows, kernel columns, rows."""

_MOVES = ("fh", "tl", "fl", "th")
_ALL = set(OPERANDS)

Operand = Literal["W", "I", "O"]
Loop = Literal["K", "C", "G", "OX", "OY", "FX", "FY"]
Move = Annotated[str, Field(pattern=r"^[WIO] (fh|tl|fl|th)$")]
Dimension = Annotated[str, Field(pattern=r"^D\d$")]
Unrolling = dict[Dimension, dict[Loop, PositiveInt]]


class DeviceError(ValueError):
    """A device file with mistakes; `problems` has one line for each, by its path."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{source}:\n" + "\n".join(f"  {problem}" for problem in problems))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Port(_Part):
    """One port of a memory. `bits`: smallest and largest transfer per cycle; `moves`: what passes through it.

    A move is an operand and a direction as ZigZag names them: `fh` written from the memory above, `tl` read to the one
    below, `fl` written from the one below, `th` read to the one above.
    """

    type: Literal["read", "write", "read_write"]
    bits: tuple[PositiveInt, PositiveInt]
    moves: tuple[Move, ...]


class Memory(_Part):
    """One memory. `bits`: size of one instance; `read_pj`, `write_pj`: pJ per access of a port's full width.

    `serves`: the array dimensions that share one instance (none: one in every processing element).
    """

    name: str
    bits: PositiveInt
    read_pj: NonNegativeFloat
    write_pj: NonNegativeFloat
    latency: PositiveInt = 1
    operands: tuple[Operand, ...]
    serves: tuple[Dimension, ...]
    ports: tuple[Port, ...]


class Array(_Part):
    """The processing elements. `mac_pj`: one multiply-accumulate at 8 x 8 bits; `systolic`: dimensions that drain."""

    sizes: dict[Dimension, PositiveInt]
    mac_pj: NonNegativeFloat
    systolic: tuple[Dimension, ...] = ()


class Mapping(_Part):
    """Which loops are unrolled over which array dimension, and how far; a loop that is shorter is cut to its length."""

    conv: Unrolling
    depthwise: Unrolling


class Vector(_Part):
    """A unit beside the array. `op_pj`: one operation at 8 bits; memory accesses are `bits_per_cycle` wide."""

    lanes: PositiveInt
    op_pj: NonNegativeFloat
    bits_per_cycle: PositiveInt
    read_pj: NonNegativeFloat
    write_pj: NonNegativeFloat


class Mesh(_Part):
    """Links between neighbouring cores, and the one to memory off chip that all cores share; what a mapping charges.

    `link_pj`: moving `link_bits` over one link; `offchip_pj`: an access of `offchip_bits`, which in a mapping takes
    the place of what the last memory says.
    """

    columns: PositiveInt
    rows: PositiveInt
    link_bits: PositiveInt
    link_pj: NonNegativeFloat = 0.0
    offchip_bits: PositiveInt
    offchip_pj: NonNegativeFloat


class Hardware(_Part):
    """A device. `cores` of them are alike; `memory` is ordered from the array outwards, the last is off chip."""

    name: str
    about: str
    clock_mhz: PositiveFloat
    cores: PositiveInt = 1
    accumulator_bits: PositiveInt
    mac_energy: Literal["product", "fixed"] = "product"
    array: Array
    memory: tuple[Memory, ...]
    mapping: Mapping
    pooling: Vector
    simd: Vector
    mesh: Mesh | None = None

    @classmethod
    def load(cls, path: Path) -> Hardware:
        """The device in the TOML file `path`.

        Raises:
            OSError: the file cannot be read.
            DeviceError: with every mistake in it.
        """
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise DeviceError(str(path), [str(error)]) from None
        problems = list(_across(raw))
        try:
            found = cls.model_validate(raw)
        except ValidationError as error:
            raise DeviceError(str(path), problems_of(error) + problems) from None
        if problems:
            raise DeviceError(str(path), problems)
        return found

    @property
    def units(self) -> int:
        """Multiply-accumulates per cycle."""
        return prod(self.array.sizes.values())

    def digest(self) -> str:
        """What a layer table depends on: array, memories, mapping, accumulator, as 16 hexadecimal digits."""
        parts = self.model_dump(mode="json", include={"array", "memory", "mapping", "accumulator_bits"})
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def fits(self, bits_in: float, bits_out: float, input_on_chip: bool, output_on_chip: bool) -> bool:
        """Whether the activations that stay on chip have room in the largest memories that hold them."""
        room: dict[str, float] = {}
        for operand, wanted, bits in (("I", input_on_chip, bits_in), ("O", output_on_chip, bits_out)):
            if wanted:
                top = self.holds(operand)
                if top is None:
                    return False
                room[top.name] = room.get(top.name, 0) + bits
        sizes = {memory.name: memory.bits for memory in self.memory}
        return all(bits <= sizes[name] for name, bits in room.items())

    def holds(self, operand: str) -> Memory | None:
        """The largest memory on chip that holds whole maps of `operand`; None where there is none."""
        # Only one memory for the whole array can hold a map; registers per processing element are spread.
        whole = [m for m in self.memory[:-1] if operand in m.operands and set(m.serves) == set(self.array.sizes)]
        return whole[-1] if whole else None


def problems_of(error: ValidationError) -> list[str]:
    """A line for each mistake, by its path."""
    return [f"{'.'.join(map(str, e['loc']))}: {_message(e)}" for e in error.errors()]


def _message(error: Any) -> str:
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "extra_forbidden":
        return "is not known here"
    return f"is {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}"


def _across(raw: dict[str, Any]) -> Iterator[str]:
    """Mistakes between the parts of a file, as far as its parts can be read."""
    array = raw.get("array")
    found = array.get("sizes") if isinstance(array, dict) else None
    sizes: dict[str, Any] | None = found if isinstance(found, dict) else None
    memories = raw.get("memory")
    memories = [m for m in memories if isinstance(m, dict)] if isinstance(memories, list) else []
    names: set[object] = set()
    for i, memory in enumerate(memories):
        path, operands = f"memory.{i}", memory.get("operands", ())
        operands = operands if isinstance(operands, list) else []
        if str(memory.get("name")) in names:
            yield f"{path}.name: {memory.get('name')!r} is there twice"
        names.add(str(memory.get("name")))
        serves = memory.get("serves", ())
        for dimension in serves if isinstance(serves, list) else ():
            if sizes is not None and dimension not in sizes:
                yield f"{path}.serves: {dimension!r} is no dimension of the array ({', '.join(sizes)})"
        yield from _ports(path, operands, memory.get("ports"))
    if memories:
        last = f"memory.{len(memories) - 1}"
        missing = [operand for operand in OPERANDS if operand not in memories[-1].get("operands", ())]
        if missing:
            yield f"{last}.operands: the last memory is off chip and must hold W, I and O; {', '.join(missing)} missing"
        if sizes is not None and set(map(str, memories[-1].get("serves", ()))) != set(sizes):
            yield f"{last}.serves: the last memory must serve every dimension of the array ({', '.join(sizes)})"
    mapping = raw.get("mapping")
    if isinstance(mapping, dict) and sizes is not None:
        yield from _mapping(mapping, sizes)


def _mapping(mapping: dict[str, Any], sizes: dict[str, Any]) -> Iterator[str]:
    for kind, unrolling in mapping.items():
        for dimension, loops in unrolling.items() if isinstance(unrolling, dict) else ():
            path = f"mapping.{kind}.{dimension}"
            if dimension not in sizes:
                yield f"{path}: no dimension of the array ({', '.join(sizes)})"
            elif isinstance(loops, dict) and all(isinstance(n, int) for n in (*loops.values(), sizes[dimension])):
                unrolled = prod(loops.values())
                if unrolled > sizes[dimension]:
                    yield f"{path}: unrolls {unrolled}; the array has {sizes[dimension]} there"


def _ports(path: str, operands: list[Any], ports: object) -> Iterator[str]:
    seen: list[str] = []
    for j, port in enumerate(ports if isinstance(ports, list) else []):
        if not isinstance(port, dict):
            continue
        bits = port.get("bits")
        if isinstance(bits, list) and len(bits) == 2 and all(isinstance(b, int) for b in bits) and bits[0] > bits[1]:
            yield f"{path}.ports.{j}.bits: is {bits}; the smallest comes first"
        moves = port.get("moves", ())
        for move in moves if isinstance(moves, list) else ():
            if isinstance(move, str) and move[:1] in _ALL and move[:1] not in operands:
                yield f"{path}.ports.{j}.moves: {move!r} is for an operand that the memory does not hold"
            seen.append(str(move))
    for operand in operands if isinstance(ports, list) else ():
        if operand in _ALL and not any(move.startswith(f"{operand} ") and move[2:] in _MOVES for move in seen):
            yield f"{path}.ports: none moves {operand}, which the memory holds"
