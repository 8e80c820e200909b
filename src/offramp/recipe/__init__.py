"""What a run is: a TOML file, checked as a whole before anything is computed.

A section `[name]` is in `_name.py`; those on training are in `offramp.training.settings`.
"""

from offramp.recipe._budget import Budget
from offramp.recipe._data import DataSection
from offramp.recipe._deliver import DeliverSection
from offramp.recipe._differences import differences
from offramp.recipe._error import RecipeError
from offramp.recipe._export import ExportSection
from offramp.recipe._hardware import HardwareSection
from offramp.recipe._override import override
from offramp.recipe._policy import PolicySection
from offramp.recipe._recipe import Recipe
from offramp.recipe._search import SearchSection
from offramp.recipe._shipped import about, find, shipped
from offramp.recipe._space import SpaceSection, wrong_options

__all__ = [
    "Budget",
    "DataSection",
    "DeliverSection",
    "ExportSection",
    "HardwareSection",
    "PolicySection",
    "Recipe",
    "RecipeError",
    "SearchSection",
    "SpaceSection",
    "about",
    "differences",
    "find",
    "override",
    "shipped",
    "wrong_options",
]
