"""The analytic cost of one layer: MACs, parameters, weight bytes, activation bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from offramp.layers import Layer


class LayerCost(NamedTuple):
    """Cost of a layer, or of several run one after another (`+`).

    `macs`: multiply-accumulates of one sample. `params`: weights, biases, batch norm's scale and shift.
    `weight_bytes`: storage with batch norm folded, one 32-bit bias per output channel.
    `activation_bytes`: most memory alive at once: input, output, and what is held beside them.
    `energy_mj`, `latency_ms`: zero in a model that knows no device.
    """

    macs: int = 0
    params: int = 0
    weight_bytes: float = 0.0
    activation_bytes: float = 0.0
    energy_mj: float = 0.0
    latency_ms: float = 0.0

    def __add__(self, other: object) -> LayerCost:
        """Both, one after the other: everything adds up but the activation memory, which is reused."""
        if not isinstance(other, LayerCost):
            return NotImplemented
        return LayerCost(
            self.macs + other.macs,
            self.params + other.params,
            self.weight_bytes + other.weight_bytes,
            max(self.activation_bytes, other.activation_bytes),
            self.energy_mj + other.energy_mj,
            self.latency_ms + other.latency_ms,
        )


CostModel = Callable[[Layer], LayerCost]


def analytic(layer: Layer) -> LayerCost:
    """MACs, parameters and bytes of `layer`, from its geometry and bits alone."""
    biases = layer.shape_out.channels if layer.weights else 0
    alive = layer.shape_in.elements + layer.shape_out.elements + layer.held
    return LayerCost(
        layer.macs, layer.params, layer.weights * layer.weight_bits / 8 + 4.0 * biases, alive * layer.act_bits / 8
    )
