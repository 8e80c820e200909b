"""MD5 sums, as the publishers of data sets give them: against damage, not against attack."""

import hashlib
from pathlib import Path

from offramp.data._errors import DataError


def check_md5(file: Path, expected: str) -> None:
    """Raise a DataError where `file` is not the published one."""
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != expected:
        raise DataError(
            f"{file}: its MD5 is {found}, the official file's is {expected}. "
            "Download it again, or pass verify=False (in a recipe, data.verify = false) if it is meant to differ."
        )
