"""Checkpoints: written whole or not at all, and refused when they belong to another training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch


class CheckpointError(ValueError):
    """A checkpoint that cannot be continued."""


def save(path: Path, state: dict[str, Any], identity: str) -> None:
    """Write `state`; a kill at any moment leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    torch.save({"identity": identity, "state": state}, temporary)
    os.replace(temporary, path)


def load(path: Path, identity: str) -> dict[str, Any] | None:
    """The state written by `save`, or None where there is no file.

    Raises:
        CheckpointError: the file is unreadable, or was written with other settings or data.
    """
    if not path.exists():
        return None
    try:
        found = torch.load(path, weights_only=True, map_location="cpu")
        written, state = found["identity"], found["state"]
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read ({error!r}); delete it to train anew") from error
    if written != identity:
        raise CheckpointError(
            f"{path} was written for other settings or data ({written}; now {identity}); "
            "continue with the recipe that wrote it, use another --out, or delete the file to train anew"
        )
    return state
