"""What a recipe needs on this machine: files, folders, and the compiler of its device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from offramp.architecture import Architecture
from offramp.cost import NpuModel
from offramp.cost import device as find_device
from offramp.recipe._partial import answers

if TYPE_CHECKING:
    from offramp.recipe._recipe import Recipe


_NEEDED = {
    "ofa": ([""], "path of a checkpoint"),
    "run": (["supernet.safetensors"], "folder of a run whose supernet is trained"),
    "network": (["architecture.json", "weights.safetensors"], "folder of a network, such as DIR/chosen/NAME of a run"),
}


def absent(recipe: Recipe) -> list[str]:
    """What is not there, as lines."""
    return [line for check in (_images, _weights, _compiler, _architectures) for line in answers(check, recipe)]


def _images(recipe: Recipe) -> list[str]:
    root = recipe.data.root
    if root is None or Path(root).expanduser().exists():
        return []
    return [f"data.root: {root!r} is not there; give the folder or file of the images"]


def _weights(recipe: Recipe) -> list[str]:
    init = recipe.supernet.init
    if init is None:
        return []
    kind, _, named = init.partition(":")
    path = Path(named).expanduser()
    files, wanted = _NEEDED[kind]
    return [
        f"supernet.init: there is no file {str(path / file)!r}; give the {wanted}"
        for file in files
        if not (path / file).is_file()
    ]


def _architectures(recipe: Recipe) -> list[str]:
    """Those of networks to deliver."""
    found = []
    for i, budget in enumerate(recipe.deliver.budgets):
        if budget.architecture is None:
            continue
        try:
            Architecture.load(Path(budget.architecture).expanduser())
        except (OSError, ValueError) as error:
            found.append(f"deliver.budgets.{i}.architecture: {error}")
    return found


def _compiler(recipe: Recipe) -> list[str]:
    """That of an NPU, and what the device's file names of its configuration."""
    model = find_device(recipe.hardware.device).model if recipe.hardware is not None else None
    if not isinstance(model, NpuModel):
        return []
    try:
        _ = model.clock_hz  # Vela reads its configuration for it
    except (RuntimeError, ValueError) as error:
        return [f"hardware.device: {error}"]
    return []
