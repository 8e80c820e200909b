"""How far measured layers tell whole networks' latency under ONNX Runtime: `python benchmarks/measured_latency.py`.

For each space: all layers of its networks are measured alone, and 24 random networks whole, at every exit, one thread,
batch 1. Twelve networks set scale, start and decision; the other twelve say how far off the device is, and how well it
ranks them, beside their MACs. Leave the machine alone meanwhile. Writes benchmarks/results/measured-latency.json.
"""

import argparse
import tempfile
from pathlib import Path

from offramp.export.measure import measure_device
from offramp.recipe import Recipe, find
from offramp.run_folder import write_json
from offramp.spaces import space
from record import RESULTS, record

RECIPES = ("cifar10-2.4M", "nachos-cifar10", "aebnas-cifar10-2.4M")
NETWORKS = 24


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="another folder to write to")
    options = parser.parse_args()
    rows = []
    for name in RECIPES:
        section = Recipe.load(find(name)).space
        found = space(section.name, (3, 32, 32), 10, **section.options)
        networks = [found.sample(seed) for seed in range(NETWORKS)]
        with tempfile.TemporaryDirectory() as folder:
            device, agrees = measure_device(Path(folder) / f"{name}.toml", (), networks)
        rows.append(
            {
                "name": name, "space": section.name, "seed": 0, "networks": NETWORKS // 2, "n": agrees.exits,
                "layers": len(device.layers), "error": agrees.error, "tau": agrees.tau, "tau_macs": agrees.tau_macs,
                "scale": device.scale, "start_ms": device.start_ms, "exit_ms": device.exit_ms,
            }
        )  # fmt: skip
        print(
            f"{name:20} {agrees.exits} exits: {agrees.error:.1%} off, tau {agrees.tau:.2f}, MACs' {agrees.tau_macs:.2f}"
        )
    what = "latency at the exits of networks, told by layers measured alone, against whole networks; told of 12 others"
    write_json(options.results / "measured-latency.json", record(what, "executed", rows, runtime=device.about))


if __name__ == "__main__":
    main()
