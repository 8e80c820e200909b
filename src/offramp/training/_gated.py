"""NACHOS's training of a network whose exits have gates (arXiv 2401.13330): backbone, exits, confidences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from offramp.architecture import Architecture
from offramp.cost import cost
from offramp.data import Split
from offramp.nn import EarlyExitNet, Supernet
from offramp.progress import Silent, Tracker
from offramp.training._final import begin, end, final_loss, train
from offramp.training._fit import Images, Loss, fit, part, to_float
from offramp.training._gate_losses import (
    accuracy_loss,
    cost_loss,
    gated_exits,
    peak_loss,
    split_gates,
    support_matrix,
)
from offramp.training._quantized import quantized
from offramp.training.settings import GateSettings, TrainSettings


def train_gated(
    architecture: Architecture,
    data: Images,
    settings: GateSettings,
    *,
    leaving: Sequence[float],
    few_bits: TrainSettings | None = None,
    supernet: Supernet | None = None,
    seed: int = 0,
    identity: str = "",
    checkpoint: Path | None = None,
    track: Tracker | None = None,
) -> EarlyExitNet:
    """`architecture` trained on `data.train` in three phases, its batch-norm statistics estimated at the end.

    Where it has few bits these phases are in float; then it is quantized and, as in `train`, learns to say what it
    said, gates included.

    In every epoch of phase 3 a new support set, balanced over the classes, is held out of train; each exit's accuracy
    on it, class by class and as the weights are when the epoch begins, is what the confidences are drawn to. The losses
    are means over a thread's share of the batch; the bound on costs holds for the mean of each share.

    Args:
        architecture: at least one exit has a gate.
        data: its train split is all that is used.
        settings: their `mac_rule` is the caller's to apply in `leaving`.
        leaving: gamma, the cost of leaving at each exit, in the unit of `settings.max_macs`; the last is F_M(full).
        few_bits: of that last training: `quantized_epochs`, `quantized_lr` and what is no phase's own.
        supernet: where the weights come from; from scratch where it is None.
        seed: of everything random.
        identity: of what the training depends on, for `checkpoint`.
        checkpoint: continued where that file exists.
        track: told of every batch.

    Raises:
        ValueError: no exit has a gate; `leaving` has not one cost per exit; train is too small for a support set.
        CheckpointError: `checkpoint` was written for another `identity`.
    """
    gated, exits = gated_exits(architecture), len(architecture.exits)
    if not gated:
        raise ValueError("no exit of this network has a gate; train it by `train`")
    if len(leaving) != exits:
        raise ValueError(f"leaving has {len(leaving)} costs; the network has {exits} exits")
    net = begin(architecture, data, supernet, seed)
    backbone_epochs, early_epochs, _ = settings.phases
    matrices: dict[int, Tensor] = {}

    def backbone(images: Tensor, labels: Tensor) -> Tensor:
        return final_loss(net, images, labels)

    def exits_loss(images: Tensor, labels: Tensor, matrix: Tensor | None) -> Tensor:
        logits, gates = split_gates(net(images), architecture.classes)
        assert gates is not None
        c = gates.sigmoid()
        loss = settings.weight_accuracy * accuracy_loss(logits, gates, labels, gated, settings.accuracy_form)
        if settings.max_macs is not None:
            loss = loss + settings.weight_cost * cost_loss(c, leaving, settings.max_macs, leaving[-1])
        if matrix is not None:
            loss = loss + settings.weight_peak * peak_loss(c[:, gated], matrix[:, gated], labels)
        return loss

    def peaks(epoch: int) -> bool:
        return epoch >= backbone_epochs + early_epochs and settings.weight_peak > 0

    def loss_of(epoch: int, _step: int) -> Loss:
        if epoch < backbone_epochs:
            return backbone
        if peaks(epoch) and epoch not in matrices:
            held_out = part(data.train, support_set(data.train.labels, settings.support, (seed, epoch))[0])
            matrices.clear()
            matrices[epoch] = measured(net, held_out, settings.batch)
        return lambda images, labels: exits_loss(images, labels, matrices.get(epoch))

    def samples_of(epoch: int) -> Tensor:
        if peaks(epoch):
            return support_set(data.train.labels, settings.support, (seed, epoch))[1]
        return torch.arange(len(data.train))

    more: dict[str, Any] = {"seed": seed, "identity": identity, "checkpoint": checkpoint, "track": track or Silent()}
    fit(net, loss_of, data, settings, settings.epochs, samples_of=samples_of, **more)
    return quantized(net, end(net, data, seed), data, few_bits or TrainSettings(), **more)


def train_either(
    architecture: Architecture, data: Images, settings: TrainSettings, gates: GateSettings | None, **more: Any
) -> EarlyExitNet:
    """By `train_gated` where `gates` are given and an exit has a gate, else by `train`; `more` goes to both.

    Few bits are trained by `settings` either way.
    """
    if gates is None or not architecture.gated:
        return train(architecture, data, settings, **more)
    leaving = cost(architecture).leaving("macs", gates.mac_rule)
    return train_gated(architecture, data, gates, leaving=leaving, few_bits=settings, **more)


def support_set(labels: Tensor, share: float, seed: int | Sequence[int]) -> tuple[Tensor, Tensor]:
    """Positions of a support set, equally many of every class, and of all other samples: (N,) -> (S,), (N - S,).

    `share` of the samples in all, at least one of each class; a class that has too few gives half of what it has.

    Raises:
        ValueError: a class has fewer than two samples, so that none would be left to train on.
    """
    rng, found = np.random.default_rng(seed), labels.cpu().numpy()
    classes = np.unique(found)
    wanted = max(1, round(share * len(found) / len(classes)))
    chosen = []
    for label in classes:
        here = rng.permutation(np.flatnonzero(found == label))
        if len(here) < 2:
            raise ValueError(f"class {label} has {len(here)} training image; a support set needs at least 2")
        chosen.append(here[: min(wanted, len(here) // 2)])
    support = rng.permutation(np.concatenate(chosen))  # batch statistics need mixed classes
    rest = np.setdiff1d(np.arange(len(found)), support)
    return torch.from_numpy(support), torch.from_numpy(rest)


@torch.no_grad()
def measured(net: EarlyExitNet, support: Split, batch: int) -> Tensor:
    """The support matrix (K, E) of a network in training mode: batch norm by each batch's own statistics, as in the
    steps that follow; the running ones are not kept while training."""
    count = max(1, len(support) // batch)
    chunks = zip(support.images.tensor_split(count), support.labels.tensor_split(count))
    correct, classes = [], net.architecture.classes
    for images, labels in chunks:
        logits = net(to_float(images, net.mean.device))[..., :classes]
        correct.append(logits.argmax(-1) == labels.to(logits.device)[:, None])
    return support_matrix(torch.cat(correct), support.labels.to(net.mean.device), classes)
