"""Networks that compute at few bits: the batch norm folded, weights and activations rounded to integers times a step.

Gradients pass the rounding as if it were not there; the steps are learned (LSQ, arXiv 1902.08153): as parameters, their
gradients add up over the threads that share a module, where the running ranges of an observer would race. A slice of a
supernet has no steps of its own: there they are found anew for every batch. `docs/quantization.md` says what is rounded
where.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from offramp.architecture import Architecture, Precision
from offramp.nn.blocks import (
    Bicubic,
    BottleneckBlock,
    Dense,
    Head,
    MaxOrMean,
    SqueezeExcite,
    Unit,
    _Conv2d,
    _Linear,
)
from offramp.nn.network import EarlyExitNet

FLOAT = 32
MOST_BITS = 8
CALIBRATION_IMAGES = 256
_SAMPLES = 1 << 15  # of a layer's activations, for the choice of its step
_SHRINKS = torch.logspace(0, -2, 24, base=5.0).tolist()  # of the range, 1 to 1/25, tried for the least squared error
_QUICK_SAMPLES, _QUICK_SHRINKS = 1 << 11, _SHRINKS[:12:3]  # for steps found anew in every batch: 1 to 1/4
_SMALLEST_STEP = 1e-7
_CHANNEL_STEP = 1e-3  # least step of a channel's weights, relative to the layer's largest: keeps biases within int32


def is_quantized(precision: Precision) -> bool:
    """Whether anything is computed at fewer than 32 bits."""
    return any(bits != FLOAT for bits in precision.model_dump().values())


def quantize(net: EarlyExitNet, images: Tensor) -> EarlyExitNet:
    """`net` at the precision of its architecture, in eval mode: ready for use, for fine-tuning and for export.

    A new network of the same interface; the convolutions carry the folded batch norm, so its statistics must be set
    (`training.reestimate`). Steps are those of least squared error on `images`, and biases make up for the shift of
    every channel's mean. A network of 32 bits throughout is given back as it is.

    Args:
        net: trained in float, or a slice of a supernet.
        images: uint8 (N, C, H, W), N >= 1; at most 256 are used, evenly spaced.

    Raises:
        ValueError: no images, bits that cannot be computed (2 to 8 and 32 can), or `net` is quantized already.
    """
    if not is_quantized(net.architecture.precision):
        return net
    if rounds(net):
        raise ValueError("the network is quantized already")
    if not len(images):
        raise ValueError("images has none; calibration needs at least one")
    chosen = images[torch.linspace(0, len(images) - 1, min(len(images), CALIBRATION_IMAGES)).round().long()]
    batch = chosen.to(net.mean.device).float().contiguous(memory_format=torch.channels_last)
    net = copy.deepcopy(net).eval()
    with torch.no_grad():
        _fold(net)
        means = _output_means(net, batch)
        _install(net, quick=False)
        _calibrate(net, batch, means)
    return net


def install_quick(net: EarlyExitNet) -> None:
    """Make `net`, in float and in place, round at the precision of its architecture with steps found in every batch.

    It keeps its batch norms and gets no parameters: what it trains are the weights in float, which a supernet shares
    among all bit-widths. Where the norm's scale is positive, a kernel rounds to the same integers as after folding.

    Raises:
        ValueError: bits that cannot be computed.
    """
    if is_quantized(net.architecture.precision):
        _install(net, quick=True)


def skeleton(architecture: Architecture) -> EarlyExitNet:
    """The network that `quantize` gives for `architecture`, for `load_state_dict`: its values are unset.

    Raises:
        ValueError: bits that cannot be computed.
    """
    net = EarlyExitNet(architecture)
    if is_quantized(architecture.precision):
        with torch.no_grad():
            _fold(net)
            _install(net, quick=False)
    return net


def rounds(net: nn.Module) -> bool:
    """Whether `net` computes at few bits: what `quantize` gave."""
    return any(isinstance(module, (Rounding, RoundedLayer)) for module in net.modules())


class Rounding(nn.Module):
    """Rounds activations to `bits`: (integer in 0..2^bits - 1, less `zero`) * `step`; 0 is among the values.

    `step` is learned; `zero`, an integer, is set by calibration and 0 where nothing is negative.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.levels = 2**bits
        self.step = nn.Parameter(torch.ones(()))
        self.register_buffer("zero", torch.zeros(()))
        self.zero: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, the first dimension the batch."""
        factor = (x.numel() / max(1, len(x)) * self.levels) ** -0.5
        return _round(x, positive(self.step), -self.zero, self.levels - 1 - self.zero, factor)

    def calibrate(self, x: Tensor) -> None:
        """Set step and zero for the least squared error on `x`."""
        step, zero = _range(x, self.levels, _SHRINKS, _SAMPLES)
        self.step.copy_(step)
        self.zero.copy_(zero)


class QuickRounding(nn.Module):
    """As `Rounding`, with the step and zero that suit the batch."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.levels = 2**bits

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, the first dimension the batch."""
        with torch.no_grad():
            step, zero = _range(x, self.levels, _QUICK_SHRINKS, _QUICK_SAMPLES)
        return _round(x, step, -zero, self.levels - 1 - zero)


class RoundedLayer:
    """What convolution and linear layer have in common: weights on `bits` bits, symmetric, a step per output channel.

    The integers are -2^(bits - 1) to 2^(bits - 1) - 1. Where the input's step is known, the bias is a multiple of both
    steps' product, as in integer arithmetic.
    """

    weight: Any  # the parameters of the torch class beside this one
    bias: Any
    weight_step: nn.Parameter
    bits: int
    sources: tuple[Rounding, ...]  # that of the input, or none; a tuple, so that torch does not take it for a submodule

    def rounded(self) -> tuple[Tensor, Tensor | None]:
        """Weights and bias as they are used."""
        step = positive(self.weight_step)
        shape = [-1] + [1] * (self.weight.ndim - 1)
        half = 2 ** (self.bits - 1)
        factor = (self.weight[0].numel() * half) ** -0.5
        weight = _round(self.weight, step.view(shape), -half, half - 1, factor)
        if self.bias is None or not self.sources:
            return weight, self.bias
        unit = (step * positive(self.sources[0].step)).detach()
        rounded = (self.bias.detach() / unit).round() * unit
        return weight, self.bias + (rounded - self.bias.detach())

    def calibrate(self) -> None:
        """Set each channel's step for the least squared error of its weights."""
        self.weight_step.copy_(_channel_steps(self.weight, self.bits, _SHRINKS))


class RoundedConv(RoundedLayer, _Conv2d):
    """A convolution with rounded weights."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        return self._conv_forward(x, *self.rounded())


class RoundedLinear(RoundedLayer, _Linear):
    """A linear layer with rounded weights."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, F) -> (B, F')."""
        return F.linear(x, *self.rounded())


class QuickConv(_Conv2d):
    """A convolution whose weights are rounded with the steps that suit them now."""

    bits: int

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        return self._conv_forward(x, _quick(self.weight, self.bits), self.bias)


class QuickLinear(_Linear):
    """A linear layer whose weights are rounded with the steps that suit them now."""

    bits: int

    def forward(self, x: Tensor) -> Tensor:
        """(B, F) -> (B, F')."""
        return F.linear(x, _quick(self.weight, self.bits), self.bias)


def _quick(weight: Tensor, bits: int) -> Tensor:
    with torch.no_grad():
        step = _channel_steps(weight, bits, _QUICK_SHRINKS)
    half = 2 ** (bits - 1)
    return _round(weight, step.view([-1] + [1] * (weight.ndim - 1)), -half, half - 1)


def _range(x: Tensor, levels: int, shrinks: Sequence[float], samples: int) -> tuple[Tensor, Tensor]:
    """Step and zero of least squared error on `x`, by some of its values: (), ()."""
    low, high = x.amin().clamp_max(0), x.amax().clamp_min(0)
    sample = x.flatten()[:: -(-x.numel() // samples)]
    tried = torch.tensor(shrinks, device=x.device)[:, None]
    steps = ((high - low) * tried / (levels - 1)).clamp_min(_SMALLEST_STEP)
    zeros = (-low * tried / steps).round()
    best = (_round(sample, steps, -zeros, levels - 1 - zeros) - sample).square().sum(1).argmin()
    return steps[best, 0], zeros[best, 0]


def _channel_steps(weight: Tensor, bits: int, shrinks: Sequence[float]) -> Tensor:
    """Each output channel's step of least squared error: (C, ...) -> (C,)."""
    rows, half = weight.flatten(1), 2 ** (bits - 1)
    widest = rows.abs().amax(1, keepdim=True) / (half - 1)
    widest = widest.clamp_min(_CHANNEL_STEP * widest.max()).clamp_min(_SMALLEST_STEP)
    tried = [widest * shrink for shrink in shrinks]
    errors = [(_round(rows, step, -half, half - 1) - rows).square().sum(1, keepdim=True) for step in tried]
    return torch.cat(tried, 1).gather(1, torch.cat(errors, 1).argmin(1, keepdim=True))[:, 0]


def positive(step: Tensor) -> Tensor:
    """A learned step as it is used."""
    return step.abs().clamp_min(_SMALLEST_STEP)


def _round(x: Tensor, step: Tensor, low: Tensor | float, high: Tensor | float, factor: float = 1.0) -> Tensor:
    """`factor` scales the gradient of `step`."""
    return _Round.apply(x, step, low, high, factor)


class _Round(torch.autograd.Function):
    """round(x / step) within [low, high], times step; half to even and by true division, as in ONNX."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, low: Tensor | float, high: Tensor | float, factor: float) -> Tensor:
        ctx.save_for_backward(x, step)
        ctx.limits, ctx.factor = (low, high), factor
        return (x / step).round_().clamp_(low, high).mul_(step)  # type: ignore[arg-type]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        x, step = ctx.saved_tensors
        low, high = ctx.limits
        exact = x / step
        inside = (exact >= low) & (exact <= high)
        if not ctx.needs_input_grad[1]:
            return gradient * inside, None, None, None, None
        error = exact.round().clamp_(low, high).sub_(exact * inside)
        # Scaled so that a step moves about as fast, relative to its size, as the weights do.
        of_step = (gradient * error).sum_to_size(step.shape) * ctx.factor
        return gradient * inside, of_step, None, None, None


class _Bits(NamedTuple):
    """Of a part of the network; `quick`: with steps found in every batch."""

    weights: int
    activations: int
    quick: bool


def _fold(net: EarlyExitNet) -> None:
    """Batch norm becomes part of the convolution before it."""
    for unit in net.modules():
        if not isinstance(unit, Unit) or unit.norm is None:
            continue
        norm, conv = unit.norm, unit.conv
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        bias = -norm.running_mean if conv.bias is None else conv.bias - norm.running_mean
        conv.weight = nn.Parameter(conv.weight * scale.view(-1, 1, 1, 1))
        conv.bias = nn.Parameter(norm.bias + bias * scale)
        unit.norm = None


def _install(net: EarlyExitNet, quick: bool) -> None:
    """Replace layers by rounding ones, and identities by roundings; steps are unset."""
    precision = net.architecture.precision
    backbone = _Bits(precision.backbone_weights, precision.backbone_activations, quick)
    branch = _Bits(precision.branch_weights, precision.branch_activations, quick)
    for bits in (*backbone[:2], *branch[:2]):
        if bits != FLOAT and bits > MOST_BITS:
            raise ValueError(f"precision has {bits} bits; networks can be computed at 2 to {MOST_BITS}, and at {FLOAT}")
    source: nn.Module | None = None
    if backbone.activations != FLOAT:
        # Images have 8 bits; fewer would blur them before the first layer, which costs next to nothing.
        net.entry, source = _rounding(backbone._replace(activations=MOST_BITS))
    for stage in net.ordered:
        source = _blocks(stage.blocks, backbone, source)
        if stage.exit is not None:
            _head(stage.exit, branch, source, entry=branch.activations < backbone.activations)
    net.to(net.mean.device)


def _head(head: Head, bits: _Bits, source: nn.Module | None, entry: bool) -> None:
    if entry:
        head.entry, source = _rounding(bits)
    source = _blocks(head.blocks, bits, source)
    if head.pool == "avg":
        head.pooled, source = _rounding(bits)
    for dense in head.hidden:
        assert isinstance(dense, Dense)
        dense.linear = _linear(dense.linear, bits, source)
        dense.act, source = _after(dense.act, bits)
    head.classifier = _linear(head.classifier, bits, source)


def _blocks(blocks: nn.ModuleList, bits: _Bits, source: nn.Module | None) -> nn.Module | None:
    """Install in `blocks`, whose input `source` rounds; gives what rounds their output."""
    for i, block in enumerate(blocks):
        if isinstance(block, BottleneckBlock):
            source = _bottleneck(block, bits, source)
        elif isinstance(block, MaxOrMean):
            if block.how == "avg":
                block.pooled, source = _rounding(bits)
        elif isinstance(block, Bicubic):
            block.resized, source = _rounding(bits)
        elif isinstance(block, nn.Sequential):
            for unit in block:
                source = _unit(unit, bits, source)
        else:  # an activation on its own
            replaced, source = _after(block, bits)
            assert replaced is not None
            blocks[i] = replaced
    return source


def _bottleneck(block: BottleneckBlock, bits: _Bits, source: nn.Module | None) -> nn.Module | None:
    if block.expand is not None:
        source = _unit(block.expand, bits, source)
    source = _unit(block.depthwise, bits, source)
    if isinstance(block.squeeze, SqueezeExcite):
        block.squeeze.pooled, pooled = _rounding(bits)
        _unit(block.squeeze.expand, bits, _unit(block.squeeze.reduce, bits, pooled))
        block.squeeze.scaled, source = _rounding(bits)
    source = _unit(block.project, bits, source)
    if block.residual:
        block.added, source = _rounding(bits)
    return source


def _unit(unit: nn.Module, bits: _Bits, source: nn.Module | None) -> nn.Module | None:
    assert isinstance(unit, Unit)
    if bits.weights != FLOAT:
        conv, kind = unit.conv, QuickConv if bits.quick else RoundedConv
        unit.conv = kind(
            conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0],
            padding=conv.padding[0], groups=conv.groups, device="meta",
        )  # fmt: skip
        _take_over(unit.conv, conv, bits, source)
    unit.act, source = _after(unit.act, bits)
    return source


def _linear(linear: nn.Linear, bits: _Bits, source: nn.Module | None) -> nn.Linear:
    if bits.weights == FLOAT:
        return linear
    kind = QuickLinear if bits.quick else RoundedLinear
    rounded = kind(linear.in_features, linear.out_features, device="meta")
    _take_over(rounded, linear, bits, source)
    return rounded


def _take_over(rounded: Any, layer: nn.Conv2d | nn.Linear, bits: _Bits, source: nn.Module | None) -> None:
    """Give `rounded` the weights of `layer`, whose input `source` rounds."""
    rounded.weight, rounded.bias, rounded.bits = layer.weight, layer.bias, bits.weights
    if isinstance(rounded, RoundedLayer):
        rounded.weight_step = nn.Parameter(layer.weight.new_ones(len(layer.weight)))
        rounded.sources = (source,) if isinstance(source, Rounding) else ()


def _rounding(bits: _Bits) -> tuple[nn.Module, nn.Module | None]:
    """What stands for an identity, and the same where it rounds."""
    if bits.activations == FLOAT:
        return nn.Identity(), None
    rounding = (QuickRounding if bits.quick else Rounding)(bits.activations)
    return rounding, rounding


def _after(act: nn.Module | None, bits: _Bits) -> tuple[nn.Module | None, nn.Module | None]:
    """The activation followed by the rounding of what it gives."""
    rounding = _rounding(bits)[1]
    if rounding is None:
        return act, None
    return nn.Sequential(*([] if act is None else [act]), rounding), rounding


def _layers(net: nn.Module) -> dict[str, nn.Module]:
    return {name: m for name, m in net.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear)) and m.bias is not None}


def _output_means(net: EarlyExitNet, images: Tensor) -> dict[str, Tensor]:
    """Every layer's mean output per channel."""
    means: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        return lambda _module, _inputs, output: means.update({name: _channel_means(output)})

    hooks = [module.register_forward_hook(note(name)) for name, module in _layers(net).items()]
    _run_and_remove(net, images, hooks)
    return means


def _calibrate(net: EarlyExitNet, images: Tensor, means: dict[str, Tensor]) -> None:
    """Set all steps in one run over `images`: what is behind a rounding sees the rounded values."""
    for module in net.modules():
        if isinstance(module, RoundedLayer):
            module.calibrate()

    def correct(name: str) -> Any:
        def apply(module: Any, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            shift = means[name] - _channel_means(output)
            module.bias += shift
            return output + shift.view([1, -1] + [1] * (output.ndim - 2))

        return apply

    def set_step(module: Any, inputs: tuple[Tensor, ...]) -> None:
        module.calibrate(inputs[0])

    hooks = [module.register_forward_hook(correct(name)) for name, module in _layers(net).items()]
    hooks += [m.register_forward_pre_hook(set_step) for m in net.modules() if isinstance(m, Rounding)]
    _run_and_remove(net, images, hooks)


def _run_and_remove(net: EarlyExitNet, images: Tensor, hooks: Sequence[Any]) -> None:
    try:
        net(images)
    finally:
        for hook in hooks:
            hook.remove()


def _channel_means(x: Tensor) -> Tensor:
    return x.mean((0, 2, 3)) if x.ndim == 4 else x.mean(0)
