"""Training: the supernet, the chosen networks, batch-norm statistics, and score tables."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from offramp.training.settings import GateSettings, SupernetSettings, TrainSettings

if TYPE_CHECKING:
    from offramp.training._final import some_images as some_images
    from offramp.training._final import train as train
    from offramp.training._fit import pick_device as pick_device
    from offramp.training._gated import train_either as train_either
    from offramp.training._gated import train_gated as train_gated
    from offramp.training._quantized import quantized as quantized
    from offramp.training._score import score as score
    from offramp.training._statistics import reestimate as reestimate
    from offramp.training._supernet import train_supernet as train_supernet

_LAZY = {
    "some_images": "final",
    "train": "final",
    "pick_device": "fit",
    "train_either": "gated",
    "train_gated": "gated",
    "quantized": "quantized",
    "score": "score",
    "reestimate": "statistics",
    "train_supernet": "supernet",
}

__all__ = [
    "GateSettings",
    "SupernetSettings",
    "TrainSettings",
    "pick_device",
    "quantized",
    "reestimate",
    "score",
    "some_images",
    "train",
    "train_either",
    "train_gated",
    "train_supernet",
]


def __getattr__(name: str) -> Any:
    """Import the file behind a public name when it is first used: settings are read without torch."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}._{_LAZY[name]}"), name)
    globals()[name] = value
    return value
