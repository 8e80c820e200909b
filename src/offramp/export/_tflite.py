"""From a quantized network to one TFLite file for each stage, and a `stages.json` that says how they are run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from offramp.export._convert import frozen
from offramp.export._metadata import checked_classes
from offramp.layers import layers
from offramp.nn import EarlyExitNet
from offramp.nn.blocks import Bicubic, BottleneckBlock, Dense, Head, MaxOrMean, SqueezeExcite, Unit
from offramp.nn.network import StageModule
from offramp.nn.quantize import rounds
from offramp.nn.rounding import RoundedConv, RoundedLinear, Rounding, positive
from offramp.policy import Policy
from offramp.tflite import Graph, Quant, StageValues, Values, check_bits, stage_graph, write

STAGES = "stages.json"
CALIBRATION_IMAGES = 1000
_BATCH = 100
_LEAST_STEP = 1e-7


def export_tflite(
    net: EarlyExitNet, policy: Policy, folder: str | Path, *, classes: Sequence[str], images: Tensor
) -> Path:
    """Write every stage of `net` as `stage_0.tflite`, `stage_1.tflite`, ... and a `stages.json`; gives its path.

    A file takes the features that the one before gave (the first: the image, see `docs/npu.md`) and gives those for the
    next, and logits where the stage has an exit. All are int8; `StagedModel` runs them.

    Args:
        net: quantized to 8 bits throughout; left as it is.
        policy: kept in `stages.json`.
        folder: made where it is missing.
        classes: K names.
        images: uint8 (N, C, H, W), N >= 1, from whose logits their scales are taken; at most 1000 are used, evenly
            spaced.

    Raises:
        ValueError: the network is in float, has other bits, or a layer that TFLite has no operator for; or arguments
            that do not fit it.
        RuntimeError: the schema's classes are not installed (`pip install 'offramp[ethos]'`).
    """
    exits = len(net.architecture.exits)
    if policy.exits != exits:
        raise ValueError(
            f"policy has {len(policy.thresholds)} thresholds; a network of {exits} exits needs {exits - 1}"
        )
    names = checked_classes(classes, net.architecture.classes)
    files = [write(graph) for graph in stage_graphs(net, images)]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STAGES).unlink(missing_ok=True)  # an earlier one must not speak of a part of these files
    stages = []
    for number, (file, stage) in enumerate(zip(files, net.ordered)):
        path = folder / f"stage_{number}.tflite"
        path.write_bytes(file)
        stages.append({"file": path.name, "exit": stage.exit is not None})
    record = {
        "input": list(net.architecture.input),
        "mean": net.mean.flatten().tolist(),
        "std": net.std.flatten().tolist(),
        "classes": list(names),
        "policy": policy.to_dict(),
        "stages": stages,
    }
    (folder / STAGES).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return folder / STAGES


def stage_graphs(net: EarlyExitNet, images: Tensor) -> list[Graph]:
    """The graph of every stage; see `export_tflite` for arguments and errors."""
    check_bits(net.architecture)
    if not rounds(net):
        raise ValueError("the network computes in float although its precision is 8 bits; quantize it first")
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != net.architecture.input or not len(images):
        raise ValueError(
            f"images are {images.dtype} {tuple(images.shape)}; the network needs torch.uint8 "
            f"(N, {', '.join(map(str, net.architecture.input))}) with N >= 1"
        )
    net = frozen(net)
    with torch.no_grad():
        scales, graphs = iter(_logit_scales(net, images)), list[Graph]()
        source = _quant(net.entry)
        described = layers(net.architecture)
        for number, (stage, found) in enumerate(zip(net.ordered, described)):
            logits = None if stage.exit is None else next(scales)
            values = _stage(stage, logits)
            graph = stage_graph(number, found, values, source, number + 1 == len(described))
            graphs.append(graph)
            if "features" in graph.outputs:
                source = graph.output_quant("features")
    return graphs


def _logit_scales(net: EarlyExitNet, images: Tensor) -> list[Quant]:
    """What spans every exit's logits, its gate's included."""
    count = min(len(images), CALIBRATION_IMAGES)
    chosen = images[torch.linspace(0, len(images) - 1, count).round().long()]
    said = torch.cat([net(batch.float()) for batch in chosen.split(_BATCH)])
    found = []
    for e, stage in enumerate(stage for stage in net.ordered if stage.exit is not None):
        assert stage.exit is not None
        own = said[:, e, : stage.exit.classifier.out_features]
        low, high = min(0.0, float(own.min())), max(0.0, float(own.max()))
        step = max((high - low) / 255, _LEAST_STEP)
        found.append(Quant(step, round(-low / step) - 128))
    return found


def _stage(stage: StageModule, logits: Quant | None) -> StageValues:
    backbone = [value for block in stage.blocks for value in _block(block)]
    return StageValues(backbone, [] if stage.exit is None or logits is None else list(_head(stage.exit, logits)))


def _head(head: Head, logits: Quant) -> Iterator[Values]:
    for block in head.blocks:
        yield from _block(block)
    if head.pool != "none":
        yield Values(_quant(head.pooled) if head.pool == "avg" else None)
    for dense in head.hidden:
        assert isinstance(dense, Dense)
        yield _layer(dense.linear, _quant(dense.act))
    yield _layer(head.classifier, logits)


def _block(block: nn.Module) -> Iterator[Values]:
    """In the order of `offramp.layers.block_layers`."""
    if isinstance(block, BottleneckBlock):
        if block.expand is not None:
            yield _unit(block.expand)
        yield _unit(block.depthwise)
        if isinstance(block.squeeze, SqueezeExcite):
            yield Values(_quant(block.squeeze.pooled))
            yield _unit(block.squeeze.reduce)
            yield _unit(block.squeeze.expand)
            yield Values(_quant(block.squeeze.scaled))
        yield _unit(block.project)
        if block.residual:
            yield Values(_quant(block.added))
    elif isinstance(block, MaxOrMean):
        yield Values(_quant(block.pooled) if block.how == "avg" else None)
    elif isinstance(block, Bicubic):
        yield Values()
    elif isinstance(block, nn.Sequential) and all(isinstance(unit, Unit) for unit in block):
        yield from map(_unit, block)
    else:  # an activation on its own
        yield Values(_quant(block))


def _unit(unit: nn.Module) -> Values:
    assert isinstance(unit, Unit)
    return _layer(unit.conv, _quant(unit.act))


def _layer(layer: nn.Module, output: Quant) -> Values:
    assert isinstance(layer, (RoundedConv, RoundedLinear))
    steps, (weight, bias) = positive(layer.weight_step), layer.rounded()
    integers = (weight / steps.view([-1] + [1] * (weight.ndim - 1))).round()
    unit = steps * positive(layer.sources[0].step)
    biases = weight.new_zeros(len(weight)) if bias is None else (bias / unit).round()
    # TFLite allows no -128 among weights, so that kernels may add two products in 16 bits.
    return Values(
        output,
        integers.clamp(-127, 127).to(torch.int8).numpy(),
        steps.numpy(),
        biases.double().numpy(),  # of any size: brought within 32 bits where it is written
    )


def _quant(module: nn.Module | None) -> Quant:
    """That of a rounding, or of the one that ends a sequence."""
    rounding = module[-1] if isinstance(module, nn.Sequential) else module
    assert isinstance(rounding, Rounding)
    return Quant(float(np.float32(positive(rounding.step).item())), int(rounding.zero) - 128)
