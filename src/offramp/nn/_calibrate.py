"""Calibration: steps and biases of a network that rounds, from images and what it gave for them in float."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from offramp.nn.network import EarlyExitNet
from offramp.nn.rounding import RoundedLayer, Rounding


def output_means(net: EarlyExitNet, images: Tensor) -> dict[str, Tensor]:
    """Every layer's mean output per channel."""
    means: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        return lambda _module, _inputs, output: means.update({name: _channel_means(output)})

    hooks = [module.register_forward_hook(note(name)) for name, module in _layers(net).items()]
    _run_and_remove(net, images, hooks)
    return means


def calibrate(net: EarlyExitNet, images: Tensor, means: dict[str, Tensor]) -> None:
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


def _layers(net: nn.Module) -> dict[str, nn.Module]:
    return {name: m for name, m in net.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear)) and m.bias is not None}


def _run_and_remove(net: EarlyExitNet, images: Tensor, hooks: Sequence[Any]) -> None:
    try:
        net(images)
    finally:
        for hook in hooks:
            hook.remove()


def _channel_means(x: Tensor) -> Tensor:
    return x.mean((0, 2, 3)) if x.ndim == 4 else x.mean(0)
