"""What makes training fast on a CPU: each setting measured beside the others, in one run.

python benchmarks/training_speed.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import statistics
import time

import torch
from torch import Tensor

from offramp.architecture import Architecture, Bottleneck, Branch, Conv, Stage
from offramp.nn import build
from offramp.training._losses import cross_entropy
from offramp.training._parallel import Workers, keep_freed_memory

BATCH, STEPS, ROUNDS = 128, 4, 5


def network() -> Architecture:
    """3.6 MMACs at 32 x 32, three exits."""
    stages = (
        Stage(blocks=(Conv(out=8), Bottleneck(out=8, hidden=24))),
        Stage(blocks=(Bottleneck(out=16, hidden=32, stride=2), Bottleneck(out=16, hidden=48)), exit=Branch()),
        Stage(blocks=(Bottleneck(out=32, hidden=64, stride=2), Bottleneck(out=32, hidden=96)), exit=Branch()),
        Stage(blocks=(Bottleneck(out=56, hidden=128, stride=2), Bottleneck(out=56, hidden=224)), exit=Branch()),
    )
    return Architecture(input=(3, 32, 32), classes=10, stages=stages)


def seconds(workers: int, layout: torch.memory_format) -> float:
    """Seconds per training step."""
    net = build(network(), 0).train().to(memory_format=layout)
    for norm in net.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = 0.0
    images = torch.randint(0, 256, (BATCH, 3, 32, 32)).float().contiguous(memory_format=layout)
    labels, params = torch.randint(0, 10, (BATCH,)), list(net.parameters())

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(net(x), y).mean()

    with Workers(BATCH, torch.device("cpu"), workers) as pool:
        pool.backward(loss, params, images, labels)
        started = time.perf_counter()
        for _ in range(STEPS):
            pool.backward(loss, params, images, labels)
        return (time.perf_counter() - started) / STEPS


def main() -> None:
    """Interleave the settings over several rounds; print medians and ratios."""
    cores = torch.get_num_threads()
    settings = {
        f"{cores} threads inside operators, contiguous": (1, torch.contiguous_format),
        f"{cores} threads inside operators, channels_last": (1, torch.channels_last),
        f"{cores} shares of the batch, channels_last": (cores, torch.channels_last),
    }
    keep_freed_memory()
    found: dict[str, list[float]] = {name: [] for name in settings}
    for _ in range(ROUNDS):
        for name, setting in settings.items():
            found[name].append(seconds(*setting))
    slowest = max(statistics.median(times) for times in found.values())
    for name, times in found.items():
        middle = statistics.median(times)
        print(f"{name:48} {middle * 1e3:7.1f} ms a step, {slowest / middle:.2f} times as fast")


if __name__ == "__main__":
    main()
