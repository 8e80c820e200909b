"""Every step of a run, each of which goes on from what the run's folder already holds."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file

from offramp.data import Task, task
from offramp.nn import Supernet
from offramp.progress import track
from offramp.recipe import Recipe
from offramp.run_folder import RunFolder, identity
from offramp.spaces import SearchSpace, options_of, space
from offramp.training import train_supernet


class Run:
    """A recipe, carried out in a folder."""

    def __init__(self, recipe: Recipe, out: str | Path) -> None:
        self.recipe, self.folder = recipe, RunFolder(out)

    @cached_property
    def task(self) -> Task:
        """The data, in four splits."""
        d = self.recipe.data
        return task(
            d.name, d.root, seed=d.seed, select=d.select, calibrate=d.calibrate, test=d.test,
            limit=d.limit, size=d.size, flip=d.flip, pad=d.pad,
        )  # fmt: skip

    @cached_property
    def space(self) -> SearchSpace:
        """The search space, for the data's image shape and classes."""
        return space(self.recipe.space.name, self.task.input, len(self.task.classes), **self.recipe.space.options)

    @cached_property
    def supernet_identity(self) -> str:
        """What the supernet's weights depend on."""
        section = self.recipe.space
        options = options_of(section.name, section.options).model_dump(mode="json")
        settings = self.recipe.supernet.model_dump()
        return identity(section.name, options, settings, self.recipe.seed, self.task.fingerprint())

    @cached_property
    def supernet(self) -> Supernet:
        """The trained supernet."""
        path, settings = self.folder.supernet, self.recipe.supernet
        supernet = Supernet(self.space, self.recipe.seed)
        if path.exists():
            supernet.load_state_dict(load_file(path))
            return supernet
        with track("supernet", settings.epochs * (len(self.task.train) // settings.batch * settings.batch)) as bar:
            supernet = train_supernet(
                self.space, self.task.without_test(), settings,
                seed=self.recipe.seed, identity=self.supernet_identity, checkpoint=self.folder.checkpoint, track=bar,
            )  # fmt: skip
        save_file({name: tensor.contiguous() for name, tensor in supernet.state_dict().items()}, path)
        return supernet
