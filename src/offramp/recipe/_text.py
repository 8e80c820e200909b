"""The text of a recipe's file."""

from __future__ import annotations

from pathlib import Path

from offramp.recipe._error import RecipeError


def text_of(path: Path) -> str:
    """What the file holds.

    Raises:
        RecipeError: it cannot be read, or is no UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")  # editors on Windows put a mark before the text
    except UnicodeDecodeError as error:
        where = f"byte {error.object[error.start]:#04x} at {error.start}"
        raise RecipeError(str(path), [f"not UTF-8 text ({where}); save it as UTF-8"]) from None
    except OSError as error:
        hint = "a recipe is a TOML file, such as `offramp init digits` prints"
        raise RecipeError(str(path), [f"cannot be read: {error.strerror}; {hint}"]) from None
