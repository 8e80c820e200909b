"""Errors of a search."""

from __future__ import annotations

from offramp.search.trial import Trial


class StudyError(ValueError):
    """A study that cannot be opened or written as asked; the message tells what differs and what to do."""


class NothingFeasible(ValueError):
    """No trial keeps every constraint. `nearest` is the one that violates least, None where none was evaluated."""

    def __init__(self, message: str, nearest: Trial | None = None) -> None:
        super().__init__(message)
        self.nearest = nearest
