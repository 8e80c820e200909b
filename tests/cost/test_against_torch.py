"""What is counted, against what PyTorch does with the network that is built."""

import pytest
import torch
from random_networks import live_memory, meta_net, samples
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from offramp.cost import cost
from offramp.layers import layers
from offramp.nn.blocks import Head, Unit

every_network = pytest.mark.parametrize("architecture", samples())


def counted(module: nn.Module, x: torch.Tensor) -> tuple[float, torch.Tensor]:
    with FlopCounterMode(display=False) as counter:
        result = module(x)
    return counter.get_total_flops() / 2, result


@every_network
def test_macs_of_every_stage_and_branch(architecture):
    net, found = meta_net(architecture), cost(architecture)
    images = torch.empty(1, *architecture.input, device="meta")
    x = images
    for stage, backbone, branch in zip(net.stages, found.stages, found.branches, strict=True):
        macs, x = counted(stage, x)
        assert backbone.macs == macs
        assert (branch is None) == (stage.exit is None)
        if branch is not None:
            assert branch.macs == counted(stage.exit, x)[0]
    assert found.total.macs == counted(net, images)[0]


@every_network
def test_parameters_of_every_stage_and_branch(architecture):
    def numel(module: nn.Module | None) -> int:
        return 0 if module is None else sum(p.numel() for p in module.parameters())

    net, found = meta_net(architecture), cost(architecture)
    for stage, backbone, branch in zip(net.stages, found.stages, found.branches, strict=True):
        assert (0 if branch is None else branch.params) == numel(stage.exit)
        assert backbone.params == numel(stage.blocks)
    assert found.params == numel(net)


@every_network
def test_every_layer_has_the_geometry_of_its_module(architecture):
    net = meta_net(architecture)
    seen: dict[str, tuple] = {}
    for path, module in net.named_modules():
        if isinstance(module, Unit | Head | nn.Linear):
            module.register_forward_hook(
                lambda _, args, out, path=path: seen.update({path: (tuple(args[0].shape[1:]), tuple(out.shape[1:]))})
            )
    net(torch.empty(2, *architecture.input, device="meta"))
    modules, expected = dict(net.named_modules()), {}
    for i, stage in enumerate(layers(architecture)):
        parts = [(f"stages.{i}", layer) for layer in stage.backbone]
        parts += [(f"stages.{i}.exit", layer) for layer in stage.branch]
        for prefix, layer in parts:
            path = f"{prefix}.{layer.name}"
            if layer.op == "conv":
                expected[path] = (tuple(layer.shape_in), tuple(layer.shape_out))
                unit = modules[path]
                assert (unit.conv.kernel_size[0], unit.conv.stride[0]) == (layer.kernel, layer.stride)
                assert (unit.conv.groups, unit.conv.bias is not None) == (layer.groups, layer.bias)
                assert (unit.norm is not None, unit.act is not None) == (layer.norm, layer.act is not None)
                assert layer.act is None or type(unit.act).__name__.lower() == layer.act
            elif layer.op == "linear":
                path += ".linear" if ".hidden." in path else ""
                expected[path] = ((layer.shape_in.elements,), (layer.shape_out.channels,))
        if stage.branch:
            expected[f"stages.{i}.exit"] = (tuple(stage.branch[0].shape_in), (stage.branch[-1].shape_out.channels,))
    assert seen == expected


@every_network
def test_peak_memory_is_what_lives_at_once(architecture):
    # At unlike bits the map that a branch reads and that waits beside it counts at the backbone's: test_layers.py.
    bits = architecture.precision.model_copy(update={"branch_activations": architecture.precision.backbone_activations})
    architecture = architecture.model_copy(update={"precision": bits})
    found, alive = cost(architecture), live_memory(architecture)
    for i, (backbone, branch) in enumerate(zip(found.stages, found.branches)):
        assert backbone.activation_bytes == alive[f"stage {i}"] * bits.backbone_activations / 8
        if branch is not None:
            assert branch.activation_bytes == alive[f"exit {i}"] * bits.branch_activations / 8
    parts = [*found.stages, *(branch for branch in found.branches if branch is not None)]
    assert found.activation_bytes == max(part.activation_bytes for part in parts)


def weight_bytes(module: nn.Module, bits: int) -> float:
    """Weights at `bits`, and a 32-bit bias per output channel: batch norm is folded into it."""
    found = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return sum(m.weight.numel() * bits / 8 + 4 * m.weight.shape[0] for m in found)


@every_network
def test_weight_bytes_of_every_stage_and_branch(architecture):
    net, found, bits = meta_net(architecture), cost(architecture), architecture.precision
    for stage, backbone, branch in zip(net.stages, found.stages, found.branches):
        assert backbone.weight_bytes == weight_bytes(stage.blocks, bits.backbone_weights)
        if branch is not None:
            assert branch.weight_bytes == weight_bytes(stage.exit, bits.branch_weights)
    parts = [*found.stages, *(branch for branch in found.branches if branch is not None)]
    assert found.weight_bytes == sum(part.weight_bytes for part in parts)
