"""Networks in PyTorch: built from an `Architecture`, and the supernet that shares weights among all of a space."""

from offramp.nn.network import EarlyExitNet, build
from offramp.nn.supernet import Supernet

__all__ = ["EarlyExitNet", "Supernet", "build"]
