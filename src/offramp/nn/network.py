"""`EarlyExitNet`: an ordered list of stages, each with an optional exit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from offramp.architecture import Architecture, Stage
from offramp.layers import Shape
from offramp.nn.blocks import Head, block_modules, init_weights
from offramp.policy import CERTAIN, GATE_MEASURES, Policy, confidence


class StageModule(nn.Module):
    """A stage's blocks; `exit` is its branch, or None."""

    def __init__(self, stage: Stage, shape: Shape, classes: int) -> None:
        super().__init__()
        self.blocks, self.shape_out = block_modules(stage.blocks, shape)
        self.exit = None if stage.exit is None else Head(stage.exit, self.shape_out, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map in, feature map out; the exit is called by the network."""
        for block in self.blocks:
            x = block(x)
        return x


class EarlyExitNet(nn.Module):
    """The network of an `Architecture`; its weights are unset, `build` gives them values.

    Images are float tensors (B, C, H, W) in 0..255; the buffers `mean` and `std` (C, 1, 1) normalise them inside.

    Where any exit has a gate, every exit gives K + 1 numbers, the logit of its confidence last; it is the constant
    `policy.CERTAIN` at exits without a gate, as the final one: their confidence is 1.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        shape, stages = Shape(*architecture.input), []
        for stage in architecture.stages:
            stages.append(StageModule(stage, shape, architecture.classes))
            shape = stages[-1].shape_out
        self.stages = nn.ModuleList(stages)
        self.entry: nn.Module = nn.Identity()  # rounds the input of a quantized network
        self.register_buffer("mean", torch.full((architecture.input[0], 1, 1), 127.5))
        self.register_buffer("std", torch.full((architecture.input[0], 1, 1), 64.0))
        self.mean: Tensor
        self.std: Tensor

    @property
    def ordered(self) -> list[StageModule]:
        """The stages, in order of execution."""
        return cast(list[StageModule], list(self.stages))

    def normalise(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Set the channels' means and standard deviations, in 0..255."""
        self.mean.copy_(torch.tensor(mean).view(-1, 1, 1))
        self.std.copy_(torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Every exit's logits: (B, C, H, W) -> (B, E, K), or (B, E, K + 1) with gates."""
        return self.classify(self.features(images))

    def features(self, images: Tensor) -> list[Tensor]:
        """The feature map that each exit reads: (B, C, H, W) -> E maps."""
        x, maps = self.enter(images), []
        for stage in self.ordered:
            x = stage(x)
            if stage.exit is not None:
                maps.append(x)
        return maps

    def classify(self, maps: Sequence[Tensor]) -> Tensor:
        """Every exit's logits from what `features` gave: E maps -> (B, E, K), or (B, E, K + 1) with gates."""
        heads = [stage.exit for stage in self.ordered if stage.exit is not None]
        return torch.stack([self._said(head, x) for head, x in zip(heads, maps)], 1)

    def enter(self, images: Tensor) -> Tensor:
        """What the first stage reads: `images` normalised."""
        return self.entry((images - self.mean) / self.std)

    @torch.inference_mode()
    def infer(self, images: Tensor, policy: Policy) -> tuple[Tensor, Tensor]:
        """Stop at the first exit that is sure enough: (B, C, H, W) -> logits (B, K) and the number of the exit taken
        (B,).

        Samples that have left are not carried on.

        Raises:
            ValueError: the policy's number of thresholds is not the number of exits less one, or its measure needs
                gates and the network has none.
            RuntimeError: the network is in training mode.
        """
        if self.training:
            raise RuntimeError("the network is in training mode, where batch norm mixes the samples; call eval() first")
        exits = len(self.architecture.exits)
        if len(policy.thresholds) != exits - 1:
            raise ValueError(
                f"policy has {len(policy.thresholds)} thresholds; a network of {exits} exits needs {exits - 1}"
            )
        if policy.measure in GATE_MEASURES and exits > 1 and not self.architecture.gated:
            raise ValueError(f"measure {policy.measure!r} reads the exits' gates; the exits of this network have none")
        count = len(images)
        result = images.new_empty(count, self.architecture.classes)
        taken = torch.full((count,), exits - 1, dtype=torch.int64, device=images.device)
        rows, x = torch.arange(count, device=images.device), self.enter(images)
        classes = self.architecture.classes
        seen, number = images.new_empty(count, 0, classes + int(self.architecture.gated)), 0
        for stage in self.ordered:
            x = stage(x)
            if stage.exit is None:
                continue
            seen = torch.cat([seen, self._said(stage.exit, x)[:, None]], 1)
            leaves = torch.ones(len(rows), dtype=torch.bool, device=images.device)
            if number < exits - 1:
                # In float64, as `Policy.decide` compares: a float32 score against a Python float would round the
                # threshold.
                logits, gates = seen[..., :classes], seen[..., -1].cpu().numpy() if self.architecture.gated else None
                scores = confidence(policy.measure, logits.cpu().numpy(), gates)[:, -1].astype(np.float64)
                leaves = torch.as_tensor(scores >= policy.thresholds[number], device=images.device)
            result[rows[leaves]], taken[rows[leaves]] = seen[leaves, -1, :classes], number
            rows, x, seen, number = rows[~leaves], x[~leaves], seen[~leaves], number + 1
            if not len(rows):
                break
        return result, taken

    def _said(self, head: Head, x: Tensor) -> Tensor:
        """What one exit says of a feature map: (B, K), or (B, K + 1) where any exit has a gate."""
        logits = head(x)
        return F.pad(logits, (0, 1), value=CERTAIN) if self.architecture.gated and not head.gate else logits


def build(architecture: Architecture, seed: int | None = None) -> EarlyExitNet:
    """A freshly initialised network; the same weights for the same seed."""
    net = EarlyExitNet(architecture)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    init_weights(net, generator)
    return net
