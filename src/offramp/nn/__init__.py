"""Networks in PyTorch: early-exit networks built from an `Architecture`, and the supernet that shares weights among them."""

from offramp.nn.network import EarlyExitNet, build
from offramp.nn.supernet import Supernet

__all__ = ["EarlyExitNet", "Supernet", "build"]
