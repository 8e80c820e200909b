"""One layer on one core by ZigZag (`pip install offramp[zigzag]`), through the stages beneath its public function."""

from __future__ import annotations

import importlib.util
import logging
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from offramp.cost.hardware import OPERANDS, Hardware
from offramp.cost.tables import LPF_LIMIT, REFERENCE_BITS, ZIGZAG, Entry, Geometry, Placement

_NAMES = {"W": "I2", "I": "I1", "O": "O"}
_EQUATION = "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]"


@lru_cache
def available() -> bool:
    """Whether the ZigZag that tables are computed with is installed."""
    try:
        return importlib.util.find_spec("zigzag") is not None and version("zigzag-dse") == ZIGZAG
    except PackageNotFoundError:
        return False


def compute(hardware: Hardware, geometry: Geometry, placement: Placement) -> Entry | None:
    """What ZigZag finds for the layer at 8 bits with the least energy-delay product; None: it finds no mapping.

    Raises:
        RuntimeError: ZigZag is not installed, or not in the version that tables are computed with.
    """
    if not available():
        raise RuntimeError(f"zigzag-dse {ZIGZAG} is not installed: pip install 'offramp[zigzag]'")
    from zigzag.mapping.temporal_mapping import TemporalMappingType
    from zigzag.opt.loma.engine import NoValidLoopOrderingFoundException
    from zigzag.stages.evaluation.cost_model_evaluation import CostModelStage
    from zigzag.stages.main import MainStage
    from zigzag.stages.mapping.spatial_mapping_generation import SpatialMappingGeneratorStage
    from zigzag.stages.mapping.temporal_mapping_generator_stage import TemporalMappingGeneratorStage
    from zigzag.stages.results.reduce_stages import MinimalEDPStage

    logging.getLogger("zigzag").setLevel(logging.ERROR)
    stages = [
        MinimalEDPStage, SpatialMappingGeneratorStage, MinimalEDPStage, TemporalMappingGeneratorStage, CostModelStage,
    ]  # fmt: skip
    main = MainStage(
        stages, accelerator=_accelerator(hardware, placement), layer=_layer(hardware, geometry),
        loma_lpf_limit=LPF_LIMIT, loma_show_progress_bar=False, nb_mappings_generated=3,
        access_same_data_considered_as_no_access=True, temporal_mapping_type=TemporalMappingType("uneven"),
    )  # fmt: skip
    try:
        found: Any = main.run()[0][0]
    except NoValidLoopOrderingFoundException:
        return None
    return _entry(hardware, placement, found)


def _accelerator(hardware: Hardware, placement: Placement) -> Any:
    from zigzag.parser.accelerator_factory import AcceleratorFactory
    from zigzag.parser.accelerator_validator import AcceleratorValidator

    memories = {}
    for i, memory in enumerate(hardware.memory):
        # Activations that stay on chip have no memory off chip above them.
        held = _off_chip(placement) if i + 1 == len(hardware.memory) else set(OPERANDS)
        ports = []
        for j, port in enumerate(memory.ports):
            moves = [f"{_NAMES[move[0]]}, {move[2:]}" for move in port.moves if move[0] in held]
            name = f"{''.join(word[0] for word in port.type.split('_'))}_port_{j + 1}"
            ports.append(
                {"name": name, "type": port.type, "bandwidth_min": port.bits[0], "bandwidth_max": port.bits[1],
                 "allocation": moves}
            )  # fmt: skip
        memories[memory.name] = {
            "size": memory.bits, "r_cost": memory.read_pj, "w_cost": memory.write_pj, "area": 0.0,
            "latency": memory.latency, "operands": [_NAMES[o] for o in memory.operands if o in held],
            "ports": ports, "served_dimensions": list(memory.serves),
        }  # fmt: skip
    sizes = hardware.array.sizes
    array = {
        "unit_energy": hardware.array.mac_pj, "unit_area": 1.0, "dimensions": list(sizes),
        "sizes": list(sizes.values()), "systolic_dimensions": list(hardware.array.systolic),
    }  # fmt: skip
    validator = AcceleratorValidator({"name": hardware.name, "memories": memories, "operational_array": array})
    data = validator.normalized_data
    if not validator.validate():
        raise ValueError(f"ZigZag refuses device {hardware.name}: {validator.validator.errors}")
    return AcceleratorFactory(data).create()


def _off_chip(placement: Placement) -> set[str]:
    chip = {"I": placement.input_on_chip, "O": placement.output_on_chip}
    return {operand for operand in OPERANDS if not chip.get(operand, False)}


def _layer(hardware: Hardware, g: Geometry) -> Any:
    from zigzag.parser.workload_factory import LayerNodeFactory
    from zigzag.parser.workload_validator import WorkloadValidator

    def padding(size: int, out: int) -> list[int]:
        # What the last window leaves unread is no padding.
        return [g.pad, max(0, (out - 1) * g.stride + g.kernel - size - g.pad)]

    node = {
        "id": 0, "name": "layer", "operator_type": "Conv", "equation": _EQUATION,
        "loop_dims": ["B", "K", "G", "OX", "OY", "C", "FX", "FY"],
        "loop_sizes": [
            1, g.out // g.groups, g.groups, g.out_width, g.out_height, g.channels // g.groups, g.kernel, g.kernel
        ],
        "dimension_relations": [f"ix={g.stride}*ox+1*fx", f"iy={g.stride}*oy+1*fy"],
        "operand_precision": {
            "W": REFERENCE_BITS, "I": REFERENCE_BITS, "O_final": REFERENCE_BITS, "O": hardware.accumulator_bits
        },
        "operand_source": {"W": 0}, "pr_loop_dims": ["IX", "IY"], "pr_loop_sizes": [g.width, g.height],
        "padding": [padding(g.width, g.out_width), padding(g.height, g.out_height)],
    }  # fmt: skip
    unrolling = hardware.mapping.depthwise if g.depthwise else hardware.mapping.conv
    mapping = {
        "name": "default", "memory_operand_links": _NAMES, "spatial_mapping_hint": None, "temporal_ordering": None,
        "spatial_mapping": {d: [f"{loop}, {n}" for loop, n in loops.items()] for d, loops in unrolling.items()},
    }  # fmt: skip
    validator = WorkloadValidator([node])
    data = validator.normalized_data
    if not validator.validate():
        raise ValueError(f"ZigZag refuses layer {g}")
    return LayerNodeFactory(data[0], [mapping]).create()


def _entry(hardware: Hardware, placement: Placement, found: Any) -> Entry:
    energy = {str(operand): [float(x) for x in levels] for operand, levels in found.mem_energy_breakdown.items()}
    dimensions = set(hardware.array.sizes)
    parts: dict[str, list[float]] = {"register": [], "sram": [], "dram": [], "cycles": []}
    for operand in OPERANDS:
        levels = [m for m in hardware.memory[:-1] if operand in m.operands]
        local = sum(pj for m, pj in zip(levels, energy[operand]) if set(m.serves) != dimensions)
        whole = sum(pj for m, pj in zip(levels, energy[operand]) if set(m.serves) == dimensions)
        off = energy[operand][len(levels) :] if operand in _off_chip(placement) else []
        cycles = 0.0
        if off:
            accesses = next(a for o, a in found.memory_word_access.items() if str(o) == operand)[len(levels)]
            cycles = float(sum(accesses.data.values()))
        for name, value in (("register", local), ("sram", whole), ("dram", sum(off)), ("cycles", cycles)):
            parts[name].append(value)
    three = {name: (values[0], values[1], values[2]) for name, values in parts.items()}
    return Entry(
        float(found.ideal_cycle), float(found.ideal_temporal_cycle), float(found.latency_total2),
        float(found.mac_energy), three["cycles"], three["register"], three["sram"], three["dram"],
    )  # fmt: skip
