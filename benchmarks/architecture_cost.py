"""How long the cost of one architecture takes to compute: `python benchmarks/architecture_cost.py`.

Prints milliseconds per architecture for every space and input without a device: median and slowest of some, each the
best of 5. Then from the layer table of quad-edge-tpu, for the spaces that it is shipped for: the same of architectures
whose layers were all looked up before, as times the cost without a device, and when nothing was (`first`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np

from offramp.architecture import Architecture
from offramp.cost import CostModel, DeviceModel, analytic, cost, describe
from offramp.spaces import SPACES, space

INPUTS = [(1, 8, 8), (3, 32, 32), (3, 224, 224)]
SHIPPED = {"zniber": {}, "zniber 0.25": {"width": 0.25}, "offramp": {}}
REPEATS = 5


def milliseconds(architecture: Architecture, models: Sequence[CostModel] = [analytic] * REPEATS) -> float:
    """The least of one time for each of `models`."""
    took = []
    for model in models:
        started = time.perf_counter()
        cost(architecture, model)
        took.append(time.perf_counter() - started)
    return min(took) * 1e3


def without_a_device(count: int) -> None:
    print(f"{'space':12} {'input':>12} {'n':>5} {'median ms':>10} {'slowest ms':>11}")
    for name in SPACES:
        for shape in INPUTS:
            of = space(name, shape, classes=10)
            took = [milliseconds(of.sample(seed)) for seed in range(count)]
            size = "x".join(map(str, shape))
            print(f"{name:12} {size:>12} {count:5} {np.median(took):10.3f} {max(took):11.3f}")


def from_the_table(count: int) -> None:
    hardware = describe("quad-edge-tpu")
    table = DeviceModel(hardware).table
    print(f"\n{'space':12} {'n':>5} {'median ms':>10} {'x analytic':>11} {'first: median':>14} {'slowest ms':>11}")
    for name, options in SHIPPED.items():
        of = space(name.split()[0], (3, 32, 32), 10, **options)
        networks = [of.sample(seed) for seed in range(count)]
        first = [milliseconds(n, [DeviceModel(hardware, table) for _ in range(REPEATS)]) for n in networks]
        model = DeviceModel(hardware, table)
        known = [milliseconds(network, [model] * REPEATS) for network in networks]
        ratio = np.median([k / milliseconds(network) for k, network in zip(known, networks)])
        print(f"{name:12} {count:5} {np.median(known):10.3f} {ratio:11.2f} {np.median(first):14.3f} {max(first):11.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", type=int, default=200)
    count = parser.parse_args().architectures
    without_a_device(count)
    from_the_table(count)


if __name__ == "__main__":
    main()
