"""Offramp designs early-exit neural networks for the hardware they will run on.

space = offramp.space("offramp", input=(3, 32, 32), classes=10)
arch = space.sample(seed=0)
net, costs = offramp.build(arch), offramp.cost(arch)
task = offramp.task("cifar10", root="data")
run = offramp.run("recipes/digits.toml", out="runs/digits")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from offramp.architecture import Architecture
from offramp.cost import NetworkCost, cost
from offramp.layers import Layer, layers
from offramp.policy import Goal, Policy, ScoreTable, curve, tune

if TYPE_CHECKING:
    from offramp.data import Task, task
    from offramp.deliver import load
    from offramp.nn import EarlyExitNet, Supernet, build
    from offramp.pipeline import Run, run
    from offramp.recipe import Recipe
    from offramp.spaces import SearchSpace, space

__version__ = "0.1.0"

_LAZY = {
    "EarlyExitNet": "nn",
    "Recipe": "recipe",
    "Run": "pipeline",
    "SearchSpace": "spaces",
    "Supernet": "nn",
    "Task": "data",
    "build": "nn",
    "load": "deliver",
    "run": "pipeline",
    "space": "spaces",
    "task": "data",
}

__all__ = [
    "Architecture",
    "EarlyExitNet",
    "Goal",
    "Layer",
    "NetworkCost",
    "Policy",
    "Recipe",
    "Run",
    "ScoreTable",
    "SearchSpace",
    "Supernet",
    "Task",
    "build",
    "cost",
    "curve",
    "layers",
    "load",
    "run",
    "space",
    "task",
    "tune",
]


def __getattr__(name: str) -> Any:
    """Import what needs torch or Optuna when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
