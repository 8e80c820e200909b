"""Where two recipes differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from offramp.recipe._error import short


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Paths at which two recipes differ, with both values."""
    found = []
    for key in sorted({*old, *new}):
        was, now = old.get(key), new.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            found += differences(was, now, f"{prefix}{key}.")
        elif was != now:
            found.append(f"{prefix}{key}: {short(was)} then, {short(now)} now")
    return found
