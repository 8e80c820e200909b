"""How long it takes to map one network to four cores: `python benchmarks/mapping_time.py`.

Prints milliseconds of processor time per network, least ET, 8 bits: the first network of a space (nothing is known but
the layer table), and the median and slowest of the others, none of which was mapped before.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from offramp.architecture import Precision
from offramp.cost import DeviceModel, Table, describe, map_network
from offramp.spaces import space

DEVICE = "quad-edge-tpu"
EIGHT = Precision(backbone_weights=8, backbone_activations=8, branch_weights=8, branch_activations=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=30)
    count = parser.parse_args().networks
    hardware = describe(DEVICE)
    table = Table.open(hardware)
    print(f"{'space':10} {'mode':>10} {'n':>4} {'first ms':>9} {'median ms':>10} {'slowest ms':>11}")
    for name in ("zniber", "offramp"):
        for mode in ("wait", "speculate"):
            model, took = DeviceModel(hardware, table), []
            networks = [space(name).sample(seed).model_copy(update={"precision": EIGHT}) for seed in range(count)]
            for network in dict.fromkeys(networks):
                started = time.process_time()
                map_network(network, model, mode)
                took.append((time.process_time() - started) * 1e3)
            median, slowest = np.median(took[1:]), max(took[1:])
            print(f"{name:10} {mode:>10} {len(took):4} {took[0]:9.1f} {median:10.1f} {slowest:11.1f}", flush=True)


if __name__ == "__main__":
    main()
