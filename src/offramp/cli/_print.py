"""Tables, lines, JSON and numbers, as all commands print them."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

stdout = Console()
stderr = Console(stderr=True)
_BREAKING = str.maketrans({"\N{NO-BREAK SPACE}": " ", "\N{WORD JOINER}": None})
"""What sentences have for the report's sake, and not every terminal can show."""
_WIDEST = 240  # columns of a table in a log or a pipe, for which rich takes 80


def print_line(text: str) -> None:
    """One line, however wide the terminal is."""
    stdout.print(text.translate(_BREAKING), highlight=False, markup=False, soft_wrap=True)


def print_table(title: str | None, columns: list[str], rows: list[list[Any]]) -> None:
    """A table, its first column to the left and the others to the right; figures are wrapped rather than cut."""
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(str, row))
    known = stdout.is_terminal or "COLUMNS" in os.environ
    (stdout if known else Console(width=_WIDEST)).print(table)


def print_json(value: Any) -> None:
    """`value` as indented JSON."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def mega(macs: float) -> str:
    """MACs in millions."""
    return f"{macs / 1e6:.3f}"


def percent(share: float) -> str:
    """A share in 0..1 in percent."""
    return f"{share:.2%}"


def percents(shares: list[float]) -> str:
    """Shares in 0..1 in whole percents, exit by exit."""
    return " / ".join(f"{share:.0%}" for share in shares)
