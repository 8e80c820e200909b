import pytest

from offramp.architecture import (
    Activate,
    Architecture,
    Bottleneck,
    Branch,
    Conv,
    Dense,
    Pool,
    Precision,
    Resize,
    Separable,
    Stage,
)
from offramp.layers import Layer, Shape, block_layers, branch_layers, layers

SHAPE = Shape(6, 9, 5)


def named(found: list[Layer]) -> dict[str, Layer]:
    return {layer.name: layer for layer in found}


def test_a_convolution_by_hand():
    (layer,) = block_layers(Conv(out=4, kernel=5, stride=2, act="relu6"), SHAPE)
    assert (layer.shape_out, layer.act, layer.norm, layer.bias) == (Shape(4, 5, 3), "relu6", True, False)
    assert layer.weights == 4 * 6 * 25
    assert layer.params == 4 * 6 * 25 + 2 * 4
    assert layer.macs == 4 * 6 * 25 * 15


def test_a_separable_convolution_strides_first():
    depthwise, pointwise = block_layers(Separable(out=4, kernel=3, stride=2), SHAPE)
    assert (depthwise.name, depthwise.groups, depthwise.shape_out) == ("depthwise", 6, Shape(6, 5, 3))
    assert (depthwise.macs, depthwise.params) == (6 * 9 * 15, 6 * 9 + 12)
    assert (pointwise.name, pointwise.shape_in, pointwise.shape_out) == ("pointwise", Shape(6, 5, 3), Shape(4, 5, 3))
    assert (pointwise.macs, pointwise.params) == (24 * 15, 24 + 8)


def test_a_bottleneck_with_residual_and_squeeze_by_hand():
    found = named(block_layers(Bottleneck(out=6, hidden=12, kernel=5, squeeze=3, act="hardswish"), SHAPE))
    macs = {name: layer.macs for name, layer in found.items()}
    assert macs == {
        "expand": 6 * 12 * 45,
        "depthwise": 12 * 25 * 45,
        "squeeze.pool": 0,
        "squeeze.reduce": 12 * 3,
        "squeeze.expand": 3 * 12,
        "squeeze.scale": 0,
        "project": 12 * 6 * 45,
        "add": 0,
    }
    wide, kept = 12 * 45, 6 * 45
    assert {name: layer.held for name, layer in found.items()} == {
        "expand": 0,
        "depthwise": kept,
        "squeeze.pool": kept,
        "squeeze.reduce": kept + wide,
        "squeeze.expand": kept + wide,
        "squeeze.scale": kept + 12,
        "project": kept,
        "add": kept,
    }
    assert found["project"].act is None
    assert found["squeeze.reduce"].params == 36 + 3
    assert found["squeeze.expand"].params == 36 + 12


@pytest.mark.parametrize("change, residual", [({}, True), ({"stride": 2}, False), ({"out": 7}, False)])
def test_input_is_added_only_where_the_shapes_agree(change, residual):
    block = Bottleneck(**{"out": 6, "hidden": 12} | change)
    assert ("add" in named(block_layers(block, SHAPE))) == residual


def test_a_branch_pools_to_a_grid_no_larger_than_the_map():
    *_, pool, classifier = branch_layers(Branch(blocks=(Conv(out=8, stride=4),), grid=2), Shape(6, 16, 4), 10)
    assert (pool.shape_in, pool.shape_out) == (Shape(8, 4, 1), Shape(8, 2, 1))
    assert (classifier.weights, classifier.params) == (8 * 2 * 10, 8 * 2 * 10 + 10)


def test_names_positions_and_bits_of_a_network():
    stages = (
        Stage(blocks=(Conv(out=4), Separable(out=8, stride=2)), exit=Branch(blocks=(Conv(out=2, kernel=1),))),
        Stage(blocks=(Conv(out=8),)),
        Stage(blocks=(Conv(out=8),), exit=Branch()),
    )
    precision = Precision(backbone_weights=8, backbone_activations=4, branch_weights=2, branch_activations=16)
    found = layers(Architecture(input=(3, 8, 8), classes=5, stages=stages, precision=precision))
    assert [[layer.name for layer in stage.backbone] for stage in found] == [
        ["blocks.0.conv", "blocks.1.depthwise", "blocks.1.pointwise"], ["blocks.0.conv"], ["blocks.0.conv"]
    ]  # fmt: skip
    assert [[layer.name for layer in stage.branch] for stage in found] == [
        ["blocks.0.conv", "pool", "classifier"], [], ["pool", "classifier"]
    ]  # fmt: skip
    assert {(layer.weight_bits, layer.act_bits) for stage in found for layer in stage.backbone} == {(8, 4)}
    assert {(layer.weight_bits, layer.act_bits) for stage in found for layer in stage.branch} == {(2, 16)}
    assert all(a.shape_out == b.shape_in for stage in found for a, b in zip(stage.backbone, stage.backbone[1:]))
    assert found[1].backbone[0].shape_in == found[0].branch[0].shape_in == Shape(8, 4, 4)


@pytest.mark.parametrize("backbone, branch, waiting, wider", [(8, 8, 128, 0), (8, 4, 256, 128), (4, 8, 64, 0)])
def test_the_map_that_waits_for_the_next_stage_keeps_the_backbone_s_bits(backbone, branch, waiting, wider):
    stages = (Stage(blocks=(Conv(out=8, stride=2),), exit=Branch()), Stage(blocks=(Conv(out=8),), exit=Branch()))
    precision = Precision(
        backbone_weights=8, backbone_activations=backbone, branch_weights=8, branch_activations=branch
    )
    early, final = layers(Architecture(input=(3, 8, 8), classes=5, stages=stages, precision=precision))
    assert [layer.held for layer in early.branch] == [wider, waiting]
    assert [layer.held for layer in final.branch] == [wider, 0]


def test_a_block_of_unknown_kind_is_named():
    with pytest.raises(TypeError, match="no layers are known for Branch"):
        block_layers(Branch(), SHAPE)


@pytest.mark.parametrize(
    "block, shape",
    [
        (Conv(out=4, kernel=5, stride=2, pad=False), Shape(4, 3, 1)),
        (Pool(kernel=4), Shape(6, 2, 1)),
        (Resize(size=8), Shape(6, 8, 8)),
        (Activate(), SHAPE),
    ],
)
def test_the_map_behind_a_block(block, shape):
    assert block_layers(block, SHAPE)[-1].shape_out == shape


def test_without_batch_norm_there_is_a_bias():
    (layer,) = block_layers(Conv(out=4, norm=False, act=None), SHAPE)
    assert (layer.norm, layer.bias, layer.act, layer.params) == (False, True, None, 4 * 6 * 9 + 4)


@pytest.mark.parametrize("block", [Conv(out=4, kernel=7, pad=False), Pool(kernel=6)])
def test_a_window_larger_than_the_map(block):
    with pytest.raises(ValueError, match="does not fit a map of 9 x 5"):
        block_layers(block, SHAPE)


def test_hidden_layers_and_a_gate_by_hand():
    branch = Branch(pool="none", hidden=(Dense(out=7, bias=False), Dense(out=5)), gate=True)
    first, second, classifier = branch_layers(branch, SHAPE, 10)
    assert (first.macs, first.params) == (6 * 45 * 7, 6 * 45 * 7)
    assert (second.macs, second.params) == (7 * 5, 7 * 5 + 5)
    assert (classifier.macs, classifier.params) == (5 * 11, 5 * 11 + 11)
