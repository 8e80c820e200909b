"""The optimisers: SGD, or Muon for the kernels that mix channels and SGD for the rest; one schedule for both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from offramp.training.settings import OptimiserSettings


class Optimiser:
    """Steps all of `params` under a one-cycle schedule of `steps` steps; its state can be stored and restored."""

    def __init__(self, params: Sequence[Tensor], settings: OptimiserSettings, steps: int) -> None:
        kernels = [p for p in params if settings.optimiser == "muon" and _mixes_channels(p)]
        taken = {id(kernel) for kernel in kernels}
        self.parts: list[torch.optim.Optimizer] = [sgd([p for p in params if id(p) not in taken], settings)]
        if kernels:
            self.parts.append(KernelMuon(kernels, settings.muon_lr, settings.muon_decay))
        # OneCycleLR divides by the steps of the rise less one.
        warmup = 0.0 if settings.warmup * steps == 1 else settings.warmup
        self.schedules = [
            OneCycleLR(part, peak, steps, pct_start=warmup, cycle_momentum=False)
            for part, peak in zip(self.parts, (settings.lr, settings.muon_lr))
        ]

    def step(self) -> None:
        """One step along the gradients, then one of the schedule."""
        for part, schedule in zip(self.parts, self.schedules):
            part.step()
            schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        schedules = [
            {k: v for k, v in schedule.state_dict().items() if k != "_anneal_func_type"} for schedule in self.schedules
        ]
        return {"parts": [part.state_dict() for part in self.parts], "schedules": schedules}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for part, found in zip(self.parts, state["parts"]):
            part.load_state_dict(found)
        for schedule, found in zip(self.schedules, state["schedules"]):
            schedule.load_state_dict(found)


class KernelMuon(torch.optim.Muon):
    """torch's Muon (orthogonalised momentum; Jordan et al. 2024) for convolutions: a kernel is a matrix, out x rest."""

    def __init__(self, kernels: Sequence[Tensor], lr: float, weight_decay: float) -> None:
        self.kernels = list(kernels)
        # The matrices share the kernels' memory, so that a step moves both.
        super().__init__(
            [nn.Parameter(_matrix(kernel.detach())) for kernel in kernels], lr=lr, weight_decay=weight_decay
        )

    def step(self, closure: Any = None) -> Any:
        """One step along the kernels' gradients; a kernel without one stays."""
        matrices = [matrix for group in self.param_groups for matrix in group["params"]]
        for matrix, kernel in zip(matrices, self.kernels):
            matrix.grad = None if kernel.grad is None else _ordered(kernel.grad, kernel).flatten(1)
        return super().step(closure)


def sgd(params: Sequence[Tensor], settings: OptimiserSettings) -> torch.optim.SGD:
    """SGD that decays matrices and kernels, not norms and biases."""
    groups = [
        {"params": [p for p in params if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        [g for g in groups if g["params"]], settings.lr, settings.momentum, nesterov=settings.momentum > 0
    )


def _mixes_channels(parameter: Tensor) -> bool:
    """Whether it is the kernel of a convolution that is not depthwise."""
    return parameter.ndim == 4 and parameter.shape[1] > 1


def _matrix(kernel: Tensor) -> Tensor:
    """A view: (O, I, H, W) -> (O, I H W) in the order in which the kernel lies in memory."""
    return _ordered(kernel, kernel).view(len(kernel), -1)


def _ordered(tensor: Tensor, kernel: Tensor) -> Tensor:
    """`tensor` with the axes in the order in which those of `kernel` lie in memory."""
    return tensor if kernel.is_contiguous() else tensor.permute(0, 2, 3, 1)
