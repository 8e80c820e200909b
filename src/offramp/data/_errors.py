"""The errors of the data room."""

from collections.abc import Sequence
from pathlib import Path


class DataError(ValueError):
    """A data set is missing, damaged or mislabelled, or cannot be split as asked; the message says what to do."""


class ImageError(DataError):
    """An image file cannot be read; `reason` is the message without the file's name and the advice."""

    def __init__(self, path: str | Path, reason: str, advice: str = "") -> None:
        super().__init__(f"{path}: {reason}. {advice}".rstrip())
        self.path, self.reason, self.advice = Path(path), reason, advice

    def bare(self) -> "ImageError":
        """The same without its traceback, which holds a half-read image in memory."""
        return ImageError(self.path, self.reason, self.advice)


def unreadable(errors: Sequence[ImageError], count: int, shown: int | None = None) -> DataError:
    """One error for those of `count` images that cannot be read; it lists the first `shown` (None: all) of them."""
    if len(errors) == 1:
        return errors[0]
    lines = [f"{len(errors)} of {count} images cannot be read. Replace or remove them:"]
    lines += [f"  {error.path}: {error.reason}" for error in errors[:shown]]
    if shown is not None and len(errors) > shown:
        lines.append(f"  and {len(errors) - shown} more")
    return DataError("\n".join(lines))
