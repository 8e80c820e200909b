"""The hardware descriptions known, by name."""

from __future__ import annotations

from typing import NamedTuple

from offramp.cost.analytic import CostModel, analytic


class Device(NamedTuple):
    """A cost model with a name and a line that says what it stands for."""

    name: str
    about: str
    model: CostModel


_DEVICES = [Device("analytic", "no device: MACs, parameters, weight and activation bytes from the geometry", analytic)]
DEVICES = {device.name: device for device in _DEVICES}


def device(name: str) -> Device:
    """The device `name`.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in DEVICES:
        raise ValueError(f"device is {name!r}; known are {', '.join(DEVICES)}")
    return DEVICES[name]
