"""Layers in parts: together they are the layer."""

from mapping_cases import LAYER, QUAD

from offramp.cost.splits import WHOLE, Split, part, splits
from offramp.layers import Shape


def test_parts_together_are_the_layer():
    for layer in (LAYER, LAYER._replace(groups=64), LAYER._replace(stride=2, shape_out=Shape(64, 8, 8))):
        for split in splits(layer, QUAD):
            cut = part(layer, split)
            assert cut.macs * split.ways == layer.macs
            assert cut.weights * (split.ways if split.by == "channels" else 1) == layer.weights
    assert part(LAYER, Split(4, "rows")).shape_in == (64, 4, 16)
    assert [str(s) for s in splits(LAYER, QUAD)] == [
        "whole",
        "2 by channels",
        "2 by rows",
        "4 by channels",
        "4 by rows",
    ]
    assert splits(LAYER._replace(shape_out=Shape(15, 7, 7)), QUAD) == [WHOLE]
    assert splits(LAYER._replace(groups=4), QUAD, 2) == [WHOLE, Split(2, "rows")]
