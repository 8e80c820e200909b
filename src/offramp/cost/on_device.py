"""The cost of a layer on a device: from its layer table, with what ZigZag leaves out added."""

from __future__ import annotations

from typing import Any

from offramp.cost.analytic import LayerCost, analytic
from offramp.cost.hardware import Hardware, Vector
from offramp.cost.tables import PLACEMENTS, REFERENCE_BITS, Estimate, Geometry, Placement, Table
from offramp.layers import Layer


class DeviceModel:
    """A cost model (`layer -> LayerCost`) for one core of a device; the layer table is opened when it is first needed.

    Activations stay on chip wherever input, output and what is held beside them fit; else the output, then the input,
    then both are off chip.
    """

    def __init__(self, hardware: Hardware, table: Table | None = None) -> None:
        self.hardware, self._table = hardware, table
        self._known: dict[Any, LayerCost] = {}

    @property
    def table(self) -> Table:
        """The device's layer table."""
        if self._table is None:
            self._table = Table.open(self.hardware)
        return self._table

    def __call__(self, layer: Layer) -> LayerCost:
        """MACs, parameters, bytes, and `energy_mj` and `latency_ms` on one core.

        Raises:
            LookupError: the layer is not in the table and ZigZag is not installed.
        """
        geometry = layer[1:]  # all but the name
        found = self._known.get(geometry)
        if found is None:
            estimate = self.estimate(layer)
            found = analytic(layer)._replace(
                energy_mj=estimate.energy_pj * 1e-9, latency_ms=estimate.cycles / (self.hardware.clock_mhz * 1e3)
            )
            self._known[geometry] = found
        return found

    def placement(self, layer: Layer) -> Placement:
        """Where `layer` keeps its activations: on chip wherever they fit and can be mapped."""
        for placement in self._possible(layer):
            if layer.op not in ("conv", "linear") or self.table.entry(Geometry.of(layer), placement) is not None:
                return placement
        raise ValueError(f"layer {layer.name} cannot be mapped to {self.hardware.name}: ZigZag finds no order of loops")

    def _possible(self, layer: Layer) -> list[Placement]:
        bits_in, bits_out = layer.shape_in.elements * layer.act_bits, layer.shape_out.elements * layer.act_bits
        held = layer.held * layer.act_bits
        return [
            placement
            for placement in PLACEMENTS
            # What is held lies beside the input, which it came from.
            if self.hardware.fits(bits_in + held, bits_out, *placement) or not any(placement)
        ]

    def estimate(self, layer: Layer, placement: Placement | None = None) -> Estimate:
        """Energy in parts, cycles and utilisation on one core; `placement` None: on chip wherever it fits.

        Raises:
            LookupError: the layer is not in the table and ZigZag is not installed.
            ValueError: the layer cannot be mapped with that placement.
        """
        placement = placement or self.placement(layer)
        if layer.op not in ("conv", "linear"):
            return self._vector(layer, placement)
        entry = self.table.entry(Geometry.of(layer), placement)
        if entry is None:
            raise ValueError(
                f"layer {layer.name} cannot be mapped to {self.hardware.name} with activations {placement}"
            )
        found = entry.at(layer.weight_bits, layer.act_bits, self.hardware.mac_energy)
        if layer.act is None:
            return found
        # A fused activation is applied to what streams out of the array: energy, but no cycles and no traffic.
        pj = layer.shape_out.elements * self.hardware.simd.op_pj * layer.act_bits / REFERENCE_BITS
        return found._replace(vector_pj=pj)

    def _vector(self, layer: Layer, placement: Placement) -> Estimate:
        """An operation without weights, on the pooling or the SIMD core, limited by its lanes or its memory."""
        ins, outs, bits = layer.shape_in.elements, layer.shape_out.elements, layer.act_bits
        unit, ops, read = self.hardware.simd, outs, ins
        if layer.op == "pool":
            unit, ops = self.hardware.pooling, max(ins, outs)
        elif layer.op == "add":
            read = 2 * ins
        elif layer.op == "scale":
            read = ins + layer.shape_out.channels
        elif layer.op == "resize":  # bicubic: four by four neighbours for each value
            ops = 16 * outs
        return _on(unit, ops, read, outs, bits, self._off_chip(read, outs, bits, placement))

    def _off_chip(self, read: int, written: int, bits: int, placement: Placement) -> tuple[float, float]:
        """pJ and cycles of bringing what is not on chip."""
        memory = self.hardware.memory[-1]
        width = max(port.bits[1] for port in memory.ports)
        loaded = 0.0 if placement.input_on_chip else read * bits / width
        stored = 0.0 if placement.output_on_chip else written * bits / width
        return loaded * memory.read_pj + stored * memory.write_pj, loaded + stored


def _on(unit: Vector, ops: int, read: int, written: int, bits: int, off_chip: tuple[float, float]) -> Estimate:
    reads, writes = read * bits / unit.bits_per_cycle, written * bits / unit.bits_per_cycle
    cycles = max(ops / unit.lanes, reads, writes) + off_chip[1]
    energy = ops * unit.op_pj * bits / REFERENCE_BITS
    sram = reads * unit.read_pj + writes * unit.write_pj
    return Estimate(cycles, 0.0, 0.0, sram, off_chip[0], energy, 0.0, off_chip[1])
