"""What a device is: a TOML file with its array, memories, mapping and vector units, checked as a whole."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from offramp.cost.mistakes import mistakes

OPERANDS = ("W", "I", "O")
"""Weights, input activations, output activations."""

# Strict, so that neither a string nor true passes for a number.
Count = Annotated[int, Field(strict=True, gt=0)]
Rate = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Energy = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]

Operand = Literal["W", "I", "O"]
Loop = Literal["K", "C", "G", "OX", "OY", "FX", "FY"]
"""Of a convolution: output, input channels of a group, groups, output columns, rows, kernel columns, rows."""

# It names the file in the cache folder.
Name = Annotated[str, Field(pattern=r"^[^/\\]+$")]
Move = Annotated[str, Field(pattern=r"^[WIO] (fh|tl|fl|th)$")]
Dimension = Annotated[str, Field(pattern=r"^D\d$")]
Unrolling = dict[Dimension, dict[Loop, Count]]


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
    bits: tuple[Count, Count]
    moves: tuple[Move, ...]


class Memory(_Part):
    """One memory. `bits`: size of one instance; `read_pj`, `write_pj`: pJ per access of a port's full width.

    `serves`: the array dimensions that share one instance (none: one in every processing element).
    """

    name: str
    bits: Count
    read_pj: Energy
    write_pj: Energy
    latency: Count = 1
    operands: tuple[Operand, ...]
    serves: tuple[Dimension, ...]
    ports: tuple[Port, ...]


class Array(_Part):
    """The processing elements. `mac_pj`: one multiply-accumulate at 8 x 8 bits; `systolic`: dimensions that drain."""

    sizes: dict[Dimension, Count] = Field(min_length=1)
    mac_pj: Energy
    systolic: tuple[Dimension, ...] = ()


class Mapping(_Part):
    """Which loops are unrolled over which array dimension, and how far; a loop that is shorter is cut to its length."""

    conv: Unrolling
    depthwise: Unrolling


class Vector(_Part):
    """A unit beside the array. `op_pj`: one operation at 8 bits; memory accesses are `bits_per_cycle` wide."""

    lanes: Count
    op_pj: Energy
    bits_per_cycle: Count
    read_pj: Energy
    write_pj: Energy


class Mesh(_Part):
    """Links between neighbouring cores, and the one to memory off chip that all cores share; what a mapping charges.

    `link_pj`: moving `link_bits` over one link; `offchip_pj`: an access of `offchip_bits`, which in a mapping takes
    the place of what the last memory says.
    """

    columns: Count
    rows: Count
    link_bits: Count
    link_pj: Energy = 0.0
    offchip_bits: Count
    offchip_pj: Energy


class Hardware(_Part):
    """A device. `cores` of them are alike; `memory` is ordered from the array outwards, the last is off chip."""

    name: Name
    about: str
    clock_mhz: Rate
    cores: Count = 1
    accumulator_bits: Count
    mac_energy: Literal["product", "fixed"] = "product"
    array: Array
    memory: tuple[Memory, ...] = Field(min_length=1)
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
        raw = parsed(path)
        problems = list(mistakes(raw))
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


def parsed(path: Path) -> dict[str, Any]:
    """The TOML file `path`, unchecked.

    Raises:
        OSError: the file cannot be read.
        DeviceError: it is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        problem = f"is not UTF-8, as TOML must be (byte 0x{byte:02x} in line {line}); save it as UTF-8"
        raise DeviceError(str(path), [problem]) from None
    except tomllib.TOMLDecodeError as error:
        raise DeviceError(str(path), [str(error)]) from None


def problems_of(error: ValidationError) -> list[str]:
    """A line for each mistake, by its path."""
    return [f"{'.'.join(map(str, e['loc']))}: {_message(e)}" for e in error.errors()]


def _message(error: Any) -> str:
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "extra_forbidden":
        return "is not known here"
    return f"is {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}"
