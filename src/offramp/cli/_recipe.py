"""Commands on recipes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from offramp.cli._print import print_line

if TYPE_CHECKING:
    from offramp.data import Task
    from offramp.pipeline import Run

_CLASSES_NAMED = 10


def recipes() -> None:
    """List the recipes that come with Offramp."""
    from offramp.recipe import about, shipped

    found = shipped()
    width = max(map(len, found))
    for name, path in found.items():
        print_line(f"{name:{width}}  {about(path)}")


def init(name: Annotated[str, typer.Argument(help="A name that `offramp recipes` lists.")]) -> None:
    """Print a recipe, to be edited: offramp init NAME > my.toml."""
    from offramp.recipe import find

    sys.stdout.write(find(name).read_text(encoding="utf-8"))


def validate(
    recipe: Annotated[str, typer.Argument(help="A recipe's file or name.")],
    set: Annotated[list[str] | None, typer.Option(help="Override a value: section.key=value.")] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print it with every default filled in, and look at no files.")
    ] = False,
    times: Annotated[
        bool, typer.Option("--time", help="Time some batches and candidates, and tell about how long a run takes here.")
    ] = False,
) -> None:
    """Report every mistake of a recipe, by its path, and what its images, space and device cannot give."""
    from offramp.recipe import Recipe, find

    if show and times:
        raise ValueError("--show looks at no files, and --time needs them: give one of both")
    checked = Recipe.load(find(recipe), set or (), files=not show)  # before torch is loaded
    if show:
        sys.stdout.write(checked.filled())
        return
    from offramp.data import told_where
    from offramp.pipeline import check

    if not told_where(checked.data.name, checked.data.root):
        print_line(f"{recipe}: no mistakes found; the images were not looked at: give data.root, or set OFFRAMP_DATA")
        return
    made = check(checked)
    print_line(_images(made.task))
    if times:
        _print_times(made)
    print_line(f"{recipe}: no mistakes found")


def _print_times(run: Run) -> None:
    from offramp.forecast import forecast

    steps = []
    for step in forecast(run):
        print_line(f"{step.name}: {step.work}, about {_long(step.seconds)}")
        steps.append(step)
    print_line(f"in all about {_long(sum(step.seconds for step in steps))} on this machine")


def _long(seconds: float) -> str:
    """A span of time in the unit that suits it."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if (span := seconds / length) >= 2:
            return f"{span:.0f} {unit}" if span >= 10 else f"{span:.1f} {unit}"
    return f"{max(1, round(seconds))} s"


def _images(task: Task) -> str:
    """What is learnt from, in words: shape, splits, classes."""
    every = [split.labels.bincount(minlength=len(task.classes)).tolist() for split in task.splits.values()]
    counts = list(map(sum, zip(*every)))
    if len(counts) <= _CLASSES_NAMED:
        classes = ", ".join(f"{name} {count:,}" for name, count in zip(task.classes, counts))
    else:
        classes = f"{min(counts):,} to {max(counts):,} of each of {len(counts)} classes"
    splits = ", ".join(f"{name} {len(split):,}" for name, split in task.splits.items())
    return f"{sum(counts):,} images of {' x '.join(map(str, task.input))} ({classes}): {splits}"
