"""Gradients on several cores: each thread takes a share of the batch.

Small networks on a CPU are bound by memory and by the start of each operator, so two threads that each work on half a
batch with one core do about 1.5 times the work of two cores inside every operator (`benchmarks/training_speed.py`).
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor

_SMALLEST_SHARE = 32  # images; batch norm needs that many


class Workers:
    """A few threads; use as a context manager."""

    def __init__(self, batch: int, device: torch.device, count: int | None = None) -> None:
        cores = torch.get_num_threads()
        wanted = count or min(cores, batch // _SMALLEST_SHARE)
        self.count = 1 if device.type != "cpu" else max(1, wanted)
        keep_freed_memory()
        threads = max(1, cores // self.count)
        self._pool = None
        if self.count > 1:
            self._pool = ThreadPoolExecutor(self.count, initializer=torch.set_num_threads, initargs=(threads,))

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, function: Callable[..., object], *columns: Sequence[object]) -> list:
        """`function` of each row of `columns`, in order."""
        return list(self._pool.map(function, *columns)) if self._pool else list(map(function, *columns))

    def backward(
        self, loss: Callable[[Tensor, Tensor], Tensor], params: Sequence[Tensor], images: Tensor, labels: Tensor
    ) -> float:
        """Put the gradient of the batch's mean `loss(images, labels)` into `params`; gives the loss."""
        shares = [(x, y, len(x) / len(images)) for x, y in zip(images.chunk(self.count), labels.chunk(self.count))]

        def run(x: Tensor, y: Tensor, weight: float) -> tuple[float, tuple[Tensor | None, ...]]:
            value = loss(x, y) * weight
            return value.item(), torch.autograd.grad(value, params, allow_unused=True)

        results = self.map(run, *zip(*shares))
        for parameter, *parts in zip(params, *(gradients for _, gradients in results)):
            found = [part for part in parts if part is not None]
            parameter.grad = sum(found[1:], found[0]) if found else None
        return sum(value for value, _ in results)


@cache
def keep_freed_memory() -> None:
    """Ask glibc to keep freed blocks: otherwise every activation is returned to the system and faulted in again."""
    if platform.system() != "Linux" or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        mallopt(-2, 64 << 20)  # M_TOP_PAD
