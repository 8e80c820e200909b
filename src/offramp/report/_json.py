"""Reading JSON files."""

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """The file's value; ValueError that names the file where it is no JSON."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); remove it and run again, and it is written anew") from error
