"""Flip and padded random crop of whole batches."""

from dataclasses import dataclass

import torch
from torch import Tensor

from offramp.data._errors import DataError


@dataclass(frozen=True)
class Augment:
    """How training images are varied: mirrored at random or not, and shifted by up to `pad` pixels (0: not at all)."""

    flip: bool
    pad: int

    def __post_init__(self) -> None:
        if self.pad < 0:
            raise DataError(f"pad={self.pad}: the random crop pads by 0 or more pixels. Use 0 for no crop.")


def augment_batch(images: Tensor, augment: Augment, generator: torch.Generator) -> Tensor:
    """Flip and crop each image on its own: uint8 (B, C, H, W) in, the same shape out; `images` itself stays as it is.

    Draws come from `generator` on its own device, so that a CPU generator gives the same draws wherever the images are.
    """
    if augment.flip:
        images = _flip(images, _draw(images, 2, generator).bool())
    if augment.pad:
        rows, columns = _draw(images, 2 * augment.pad + 1, generator), _draw(images, 2 * augment.pad + 1, generator)
        images = _crop(images, rows, columns, augment.pad)
    return images


def _draw(images: Tensor, choices: int, generator: torch.Generator) -> Tensor:
    """One whole number below `choices` for each image, int64 (B,)."""
    return torch.randint(choices, (len(images),), generator=generator, device=generator.device).to(images.device)


def _flip(images: Tensor, mirrored: Tensor) -> Tensor:
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def _crop(images: Tensor, rows: Tensor, columns: Tensor, pad: int) -> Tensor:
    """The H x W window at (row, column) of each image, mirrored at its edges by `pad` pixels on all sides.

    Not black ones: they are far from the mean, and the batch-norm statistics of a small network that learned with
    them do not fit whole images.
    """
    _, _, height, width = images.shape
    padded = images[:, :, _mirrored(height, pad, images.device)][:, :, :, _mirrored(width, pad, images.device)]
    # Every window there is, as a view without a copy: (B, C, 2 pad + 1, 2 pad + 1, H, W).
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, rows, columns]


def _mirrored(size: int, pad: int, device: torch.device) -> Tensor:
    """Where each row (or column) of the padded image comes from, (size + 2 pad,): the edge itself is not repeated."""
    found, period = torch.arange(-pad, size + pad, device=device).abs(), max(2 * (size - 1), 1)
    return torch.minimum(found % period, period - found % period)
