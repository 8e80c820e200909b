"""How long the cost of one architecture takes to compute: `python benchmarks/architecture_cost.py`.

Prints milliseconds per architecture for every space and input: median and slowest of some, each the best of 5.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from offramp.architecture import Architecture
from offramp.cost import cost
from offramp.spaces import SPACES, space

INPUTS = [(1, 8, 8), (3, 32, 32), (3, 224, 224)]
REPEATS = 5


def milliseconds(architecture: Architecture) -> float:
    took = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        cost(architecture)
        took.append(time.perf_counter() - started)
    return min(took) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", type=int, default=200)
    count = parser.parse_args().architectures
    print(f"{'space':10} {'input':>12} {'n':>5} {'median ms':>10} {'slowest ms':>11}")
    for name in SPACES:
        for shape in INPUTS:
            of = space(name, shape, classes=10)
            took = [milliseconds(of.sample(seed)) for seed in range(count)]
            size = "x".join(map(str, shape))
            print(f"{name:10} {size:>12} {count:5} {np.median(took):10.3f} {max(took):11.3f}")


if __name__ == "__main__":
    main()
