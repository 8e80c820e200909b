"""A run's results as one page that needs no network: `write_report`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from offramp.report._delivered import Delivered as Delivered
    from offramp.report._headline import comparisons as comparisons
    from offramp.report._page import render as render
    from offramp.report._page import write_report as write_report
    from offramp.report._words import one_exit as one_exit

_LAZY = {
    "Delivered": "_delivered",
    "comparisons": "_headline",
    "one_exit": "_words",
    "render": "_page",
    "write_report": "_page",
}

__all__ = ["Delivered", "comparisons", "one_exit", "render", "write_report"]


def __getattr__(name: str) -> Any:
    """Import the file behind a public name when the name is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
