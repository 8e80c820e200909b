"""Where two recipes differ."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from offramp.recipe._error import short

_BEFORE = 20


def _parting(was: Any, now: Any) -> tuple[Any, Any]:
    """Both values; of two long texts, what follows where they part, with a little before it."""
    if not (isinstance(was, str) and isinstance(now, str)) or min(len(was), len(now)) <= 2 * _BEFORE:
        return was, now
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(was, now)))
    start = max(0, alike - _BEFORE)
    return (was, now) if start <= _BEFORE else (f"...{was[start:]}", f"...{now[start:]}")


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Paths at which two recipes differ, with both values."""
    found = []
    for key in sorted({*old, *new}):
        was, now = old.get(key), new.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            found += differences(was, now, f"{prefix}{key}.")
        elif was != now:
            found.append(f"{prefix}{key}: {' then, '.join(map(short, _parting(was, now)))} now")
    return found
