"""Losses over all exits; each takes logits (B, E, K)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of each exit: (B, E, K), (B,) -> (E,)."""
    exits = logits.shape[1]
    losses = F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(exits), reduction="none")
    return losses.view(len(labels), exits).mean(0)  # of no exits too: (0,)


def imitation(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Distillation of each exit (Hinton et al. 2015): T^2 KL(teacher || student), both softened by T.

    (B, E, K) and the teacher's logits (B, K) -> (E,). No gradient reaches the teacher.
    """
    target = F.softmax(teacher.detach() / temperature, -1)[:, None]
    student = F.log_softmax(logits / temperature, -1)
    return temperature**2 * F.kl_div(student, target.expand_as(student), reduction="none").sum(-1).mean(0)


def mixed(logits: Tensor, labels: Tensor, teacher: Tensor, share: float, temperature: float) -> Tensor:
    """(1 - share) cross-entropy + share imitation, per exit: -> (E,)."""
    hard = cross_entropy(logits, labels)
    return hard if share == 0 else (1 - share) * hard + share * imitation(logits, teacher, temperature)


def self_distillation(
    logits: Tensor, labels: Tensor, share: float, temperature: float, final_weight: float = 1.0
) -> Tensor:
    """Weighted sum over exits; every exit but the last imitates the last one: (B, E, K), (B,) -> ()."""
    final = cross_entropy(logits[:, -1:], labels)
    early = mixed(logits[:, :-1], labels, logits[:, -1], share, temperature)
    return early.sum() + final_weight * final.sum()
