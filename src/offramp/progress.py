"""Progress of long work: a bar with throughput and time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

_SECONDS_BETWEEN_LINES = 30.0


class Tracker(Protocol):
    """What long-running functions report to."""

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """`count` more units are done; `note` is shown beside the bar."""


class Silent:
    """A tracker that shows nothing."""

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """Do nothing."""


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(_rate(task.speed, self._unit) if task.speed else "", style="progress.data.speed")


def _rate(speed: float, unit: str) -> str:
    return f"{speed:,.1f} {unit}/s" if unit else f"{speed:,.1f}/s"


class _Bar:
    def __init__(self, bar: Progress, title: str, total: int, done: int) -> None:
        self._bar, self._task = bar, bar.add_task(title, total=total, completed=done, note="")

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """See `Tracker`."""
        self._bar.update(self._task, advance=count)
        if note is not None:
            self._bar.update(self._task, note=note)


class _Lines:
    def __init__(self, console: Console, title: str, total: int, done: int, unit: str) -> None:
        self._console, self._title, self._total, self._done, self._unit = console, title, total, done, unit
        self._first, self._started, self._shown, self._note = done, 0.0, 0.0, ""

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """See `Tracker`."""
        self._done, self._note = self._done + count, self._note if note is None else note
        now = time.monotonic()
        if not self._started:  # the first report only starts the clock: it may bring work done before an interruption
            self._first, self._started, self._shown = self._done, now, now
        if now - self._shown >= _SECONDS_BETWEEN_LINES or self._done >= self._total:
            rate = (self._done - self._first) / max(now - self._started, 1e-9)
            left = f"{_rate(rate, self._unit)}  {(self._total - self._done) / rate:,.0f} s left  " if rate else ""
            text = f"{self._title}: {self._done:,}/{self._total:,}  {left}{self._note}"
            self._console.print(text.rstrip(), highlight=False, markup=False, soft_wrap=True)
            self._shown = now


@contextmanager
def track(
    title: str, total: int, done: int = 0, *, unit: str = "", console: Console | None = None
) -> Iterator[Tracker]:
    """A tracker for `total` units of which `done` are already there; `unit` is their name, in the plural."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console, title, total, done, unit)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(unit), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as bar:
        yield _Bar(bar, title, total, done)


def tell(text: str, console: Console | None = None) -> None:
    """One line about something that the user should know, beside the bars."""
    (console or Console(stderr=True)).print(text, highlight=False, markup=False, soft_wrap=True)
