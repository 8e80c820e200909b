"""The hardware descriptions known, by name; a file of one's own works wherever a name does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from offramp.cost.analytic import CostModel, analytic
from offramp.cost.hardware import Hardware
from offramp.cost.measured import Measured, MeasuredModel
from offramp.cost.npu import Npu
from offramp.cost.on_device import DeviceModel
from offramp.cost.vela import NpuModel

_FILES = Path(__file__).parent / "device_files"


class Device(NamedTuple):
    """A cost model with a name and a line that says what it stands for."""

    name: str
    about: str
    model: CostModel | NpuModel


_ANALYTIC = Device("analytic", "no device: MACs, parameters, weight and activation bytes from the geometry", analytic)


class _Known(Mapping[str, Device]):
    """Read when asked for, so that nothing is loaded with the package."""

    def __getitem__(self, name: str) -> Device:
        if name == _ANALYTIC.name:
            return _ANALYTIC
        path = _FILES / f"{name}.toml"
        if name not in self._names():
            raise KeyError(name)
        return _read(path)

    def __iter__(self) -> Iterator[str]:
        return iter((_ANALYTIC.name, *self._names()))

    def __len__(self) -> int:
        return 1 + len(self._names())

    @staticmethod
    @lru_cache
    def _names() -> tuple[str, ...]:
        return tuple(sorted(path.stem for path in _FILES.glob("*.toml")))


@lru_cache
def _read(path: Path, changed: int = 0) -> Device:
    if Npu.describes(path):
        npu = Npu.load(path)
        return Device(npu.name, npu.about, NpuModel(npu))
    if Measured.describes(path):
        measured = Measured.load(path)
        return Device(measured.name, measured.about, MeasuredModel(measured, path))
    hardware = Hardware.load(path)
    return Device(hardware.name, hardware.about, DeviceModel(hardware))


DEVICES: Mapping[str, Device] = _Known()


def device(name: str) -> Device:
    """The device `name`, or the one that the TOML file `name` describes.

    Raises:
        ValueError: there is none of that name; or the file has mistakes (a `DeviceError` that lists them all).
        OSError: the file cannot be read.
    """
    known = name.replace("_", "-")
    if known in DEVICES:
        return DEVICES[known]
    if name.endswith(".toml"):
        # Read again only where the file has changed: a search asks for it with every network.
        path = Path(name).expanduser().resolve()
        return _read(path, path.stat().st_mtime_ns)
    raise ValueError(f"device is {name!r}; known are {', '.join(DEVICES)}, or the path of a .toml file")


def describe(name: str) -> Hardware:
    """The description behind a device that has one.

    Raises:
        ValueError: as `device` does; or it is `analytic`, which describes no hardware.
    """
    model = device(name).model
    if not isinstance(model, DeviceModel):
        raise ValueError(f"device is {name!r}, which describes no hardware and has no layer table")
    return model.hardware
