"""Images and labels: from files to a `Task` with four disjoint splits.

Nothing here imports torch before a name that needs it is used, so that `offramp.data.image` serves `offramp predict`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from offramp.data._errors import DataError, ImageError, unreadable
from offramp.data.image import image_files, read_image

if TYPE_CHECKING:
    from offramp.data._augment import Augment as Augment
    from offramp.data._augment import augment_batch as augment_batch
    from offramp.data._batches import batches as batches
    from offramp.data._load import names as names
    from offramp.data._load import read_split as read_split
    from offramp.data._load import task as task
    from offramp.data._load import told_where as told_where
    from offramp.data._task import SearchData as SearchData
    from offramp.data._task import Split as Split
    from offramp.data._task import Task as Task

_LAZY = {
    "Augment": "_augment",
    "augment_batch": "_augment",
    "batches": "_batches",
    "names": "_load",
    "read_split": "_load",
    "task": "_load",
    "told_where": "_load",
    "SearchData": "_task",
    "Split": "_task",
    "Task": "_task",
}

__all__ = [
    "Augment",
    "DataError",
    "ImageError",
    "SearchData",
    "Split",
    "Task",
    "augment_batch",
    "batches",
    "image_files",
    "names",
    "read_image",
    "read_split",
    "task",
    "unreadable",
]


def __getattr__(name: str) -> Any:
    """Import the file behind a public name when the name is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
