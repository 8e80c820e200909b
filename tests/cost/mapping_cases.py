"""Small networks and devices drawn at random to map them to, and what a mapping is worth."""

from __future__ import annotations

import random
import zlib

from offramp.architecture import Architecture, Branch, Conv, Precision, Stage
from offramp.cost import DeviceModel, Table, describe, map_network
from offramp.cost.tables import Entry
from offramp.layers import Layer, Shape

QUAD = describe("quad-edge-tpu")
EIGHT = Precision(backbone_weights=8, backbone_activations=8, branch_weights=8, branch_activations=8)
LAYER = Layer("x", "conv", Shape(64, 16, 16), Shape(64, 16, 16), 3, 1, 1, weight_bits=8, act_bits=8)


def random_model(seed: int, link_bits: int = 64, cores: int = 4, link_pj: float = 10.0) -> DeviceModel:
    """A device whose entries are drawn at random, the same for the same geometry: parts may even be dearer."""

    def compute(hardware, geometry, placement):
        draw = random.Random(seed ^ zlib.crc32(f"{geometry}{placement}".encode()))
        array, dram = draw.randint(10, 3000), draw.randint(0, 500)
        pj = [float(draw.randint(1, 10**6)) for _ in range(7)]
        three = [(pj[i], pj[i + 1], pj[i + 2]) for i in (0, 2, 4)]
        return Entry(10.0, array, array + draw.randint(0, dram), pj[6], (dram, 0, 0), *three)

    mesh = QUAD.mesh.model_copy(update={"link_bits": link_bits, "link_pj": link_pj})
    hardware = QUAD.model_copy(update={"mesh": mesh, "cores": cores})
    return DeviceModel(hardware, Table(hardware, {}, None, compute))


def small(kernels: list[int], exits: list[bool], classes: int = 16) -> Architecture:
    """One convolution per stage; the last stage always has an exit."""
    stages = [
        Stage(blocks=(Conv(out=32, kernel=k),), exit=Branch() if e or i + 1 == len(kernels) else None)
        for i, (k, e) in enumerate(zip(kernels, exits))
    ]
    return Architecture(input=(3, 16, 16), classes=classes, stages=tuple(stages), precision=EIGHT)


def value(objective, shares, costs):
    return sum(r * {"energy": e, "latency": t, "et": e * t}[objective] for r, (e, t, _) in zip(shares, costs))


def found_by(model, architecture, mode, objective, shares, cores=None):
    mapping = map_network(architecture, model, mode, objective, shares, cores)
    costs = [(e * 1e9, t * mapping.clock_mhz * 1e3, 0) for e, t in zip(mapping.energy_mj, mapping.latency_ms)]
    return mapping, value(objective, shares, costs)
