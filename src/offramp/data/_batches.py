"""A split, batch by batch."""

from collections.abc import Iterator

import torch
from torch import Tensor

from offramp.data._augment import Augment, augment_batch
from offramp.data._errors import DataError
from offramp.data._task import Split


def batches(
    split: Split,
    size: int,
    *,
    shuffle_generator: torch.Generator | None = None,
    augment: Augment | None = None,
    drop_last: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (uint8 images (B, C, H, W), int64 labels (B,)), every sample once.

    In order without a generator; shuffled, and varied by `augment`, with one. `drop_last` leaves out a short last one.
    """
    if size < 1:
        raise DataError(f"size={size}: a batch holds at least 1 image.")
    if augment is not None and shuffle_generator is None:
        raise DataError(
            "augment needs shuffle_generator, the source of its draws. Pass torch.Generator().manual_seed(seed)."
        )
    return _walk(split, size, shuffle_generator, augment, drop_last)


def _walk(
    split: Split, size: int, generator: torch.Generator | None, augment: Augment | None, drop_last: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    order = None
    if generator is not None:
        order = torch.randperm(len(split), generator=generator, device=generator.device).to(split.images.device)
    end = len(split) - len(split) % size if drop_last else len(split)
    for start in range(0, end, size):
        chosen = slice(start, start + size) if order is None else order[start : start + size]
        images, labels = split.images[chosen], split.labels[chosen]
        if augment is not None and generator is not None:
            images = augment_batch(images, augment, generator)
        yield images, labels
