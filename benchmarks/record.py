"""What every file of results says of how it was made: command, hardware, date, commit."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from offramp.export.measure import machine

RESULTS = Path(__file__).parent / "results"


def record(what: str, mac_rule: str, rows: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """The content of a file of results; `more` comes before the rows, and may replace `command` and `hardware`."""
    return {
        "what": what,
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "hardware": hardware(),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "mac_rule": mac_rule,
        **more,
        "rows": list(rows),
    }


def hardware() -> str:
    """Cores, processor and torch; on a GPU its name."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}"
    return f"{os.cpu_count()} cores, {machine()}, torch {torch.__version__}"


def commit() -> str:
    """Of the code that made the figures, with "+" where it has been changed since; "none" outside a repository."""
    git, here = ["git", "-C", str(Path(__file__).parent)], ["--", "*.py", "../src"]
    found = subprocess.run([*git, "rev-parse", "--short", "--verify", "-q", "HEAD"], capture_output=True, text=True)
    changed = subprocess.run([*git, "status", "--porcelain", *here], capture_output=True, text=True)
    return (found.stdout.strip() or "none") + ("+" if changed.stdout.strip() else "")
