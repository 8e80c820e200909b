"""What a run learns from: images, labels, and four disjoint splits."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from offramp.data._augment import Augment
from offramp.data._errors import DataError


@dataclass(frozen=True, eq=False)
class Split:
    """Images, uint8 (N, C, H, W), and their labels, int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise DataError(f"images: {_shape(self.images)}; a split takes uint8 of shape (N, C, H, W).")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise DataError(f"labels: {_shape(self.labels)}; a split of {len(self.images)} images takes as many int64.")

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Split":
        """This split with its tensors on `device`."""
        return Split(self.images.to(device), self.labels.to(device))


def _shape(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"


class _Described:
    """What can be told from the training images alone; shared by `Task` and `SearchData`."""

    train: Split

    @property
    def input(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of the training images for each channel, in 0..255."""
        return self._moments[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation for each channel, in 0..255; at least 1, so that an empty channel can be divided by it."""
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        pairs = [_channel_moments(self.train.images[:, c]) for c in range(self.train.images.shape[1])]
        return tuple(mean for mean, _ in pairs), tuple(max(std, 1.0) for _, std in pairs)


def _channel_moments(pixels: Tensor) -> tuple[float, float]:
    """Mean and standard deviation by histogram: exact, and no float copy of the images."""
    counts = torch.bincount(pixels.reshape(-1), minlength=256).double().cpu()
    share, level = counts / counts.sum(), torch.arange(256, dtype=torch.float64)
    mean = (share * level).sum()
    return mean.item(), (share * (level - mean) ** 2).sum().sqrt().item()


@dataclass(frozen=True, eq=False)
class SearchData(_Described):
    """What the search may see: there is no calibrate or test here to reach for."""

    name: str
    classes: tuple[str, ...]
    train: Split
    select: Split
    augment: Augment


@dataclass(frozen=True, eq=False)
class Task(_Described):
    """A data set with its four disjoint splits.

    `train` fits weights, `select` chooses networks and thresholds, `calibrate` is kept for guarantees, `test` is read
    once by the last step. `classes[label]` is the name of a label; `notes` hold what a reader of a figure must know.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    select: Split
    calibrate: Split
    test: Split
    augment: Augment
    notes: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[str, Split]:
        """The four splits by name."""
        return {"train": self.train, "select": self.select, "calibrate": self.calibrate, "test": self.test}

    def without_test(self) -> SearchData:
        """What the search is handed: train and select only."""
        return SearchData(self.name, self.classes, self.train, self.select, self.augment)

    def fingerprint(self) -> str:
        """Sixteen hex digits over classes, split sizes, pixels and labels; it differs when any of them does."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(repr(self.classes).encode())
        for name, split in self.splits.items():
            digest.update(f"{name} {tuple(split.images.shape)}".encode())
            digest.update(split.images.contiguous().cpu().numpy().data)
            digest.update(split.labels.contiguous().cpu().numpy().data)
        return digest.hexdigest()[:16]
