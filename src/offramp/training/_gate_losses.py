"""NACHOS's losses (arXiv 2401.13330; equation numbers are that paper's): what exits with a gate are trained by.

B samples, E exits in order, the last always certain. `c` (B, E) are the exits' confidences in 0..1, c = sigmoid(gate);
1 at the final exit and at any other without a gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from offramp.architecture import Architecture
from offramp.training._losses import cross_entropy

AccuracyForm = Literal["paper", "code"]


def split_gates(outputs: Tensor, classes: int) -> tuple[Tensor, Tensor | None]:
    """What a network gives, (B, E, K) or (B, E, K + 1) -> logits (B, E, K), and the gates' (B, E) or None."""
    return outputs[..., :classes], outputs[..., classes] if outputs.shape[-1] > classes else None


def gated_exits(*architectures: Architecture) -> list[int]:
    """Which exits have a gate, by their place among the exits of all `architectures`, one after the other."""
    branches = [stage.exit for a in architectures for stage in a.stages if stage.exit is not None]
    return [e for e, branch in enumerate(branches) if branch.gate]


def reach_probability(c: Tensor) -> Tensor:
    """Probability that a sample comes to each exit: the product of 1 - c_k over k < i. (B, E) -> (B, E)."""
    stays = (1 - c[:, :-1]).cumprod(1)
    return torch.cat([torch.ones_like(c[:, :1]), stays], 1)


def exit_probability(c: Tensor) -> Tensor:
    """c^r_i = c_i prod_{k<i} (1 - c_k), the probability of leaving at exit i (eq. 5). (B, E) -> (B, E)."""
    return c * reach_probability(c)


def combined(logits: Tensor, c: Tensor) -> Tensor:
    """f^k = sum_{i<=k} c^r_i f_i, what the exits seen so far say together (eq. 6). (B, k, K), (B, k) -> (B, K).

    f are logits: the less probable it is that a sample has left by then, the nearer f^k is to saying nothing.
    """
    return (exit_probability(c)[..., None] * logits).sum(1)


def confidence_loss(gates: Tensor, correct: Tensor) -> Tensor:
    """R_i (eq. 9): binary cross-entropy of c_i against "f_i is right", per exit. (B, G), (B, G) -> (G,).

    Class-balanced: the samples that an exit gets right have half of the weight together, those it gets wrong the other
    half. Early exits are mostly wrong at first and mostly right later; unbalanced, a constant would be a good answer.
    """
    right = correct.to(gates.dtype)
    counts = right.sum(0), (1 - right).sum(0)
    each = F.binary_cross_entropy_with_logits(gates, right, reduction="none")
    means = [(each * part).sum(0) / count.clamp(min=1) for part, count in zip((right, 1 - right), counts)]
    return (means[0] + means[1]) / 2


def gate_loss(logits: Tensor, gates: Tensor | None, labels: Tensor, exits: Sequence[int]) -> Tensor:
    """The sum of `confidence_loss` over the exits that have a gate; 0 where none has. (B, E, K), (B, E) -> ()."""
    if gates is None or not exits:
        return logits.new_zeros(())
    chosen = list(exits)
    return confidence_loss(gates[:, chosen], logits[:, chosen].argmax(-1) == labels[:, None]).sum()


def accuracy_loss(logits: Tensor, gates: Tensor, labels: Tensor, exits: Sequence[int], form: AccuracyForm) -> Tensor:
    """L_acc: (B, E, K), (B, E), (B,) -> (); `exits` are those with a gate.

    `paper`: l(f_b, y) + l(f^{b-1}, y) (eq. 7), l the cross-entropy, and R_i for every gate (eq. 9).
    `code` (as the authors released it): sum_i E[c^r_i l(f_i, y)], and R_i.
    """
    c, early = gates.sigmoid(), logits.shape[1] - 1
    regularised = gate_loss(logits, gates, labels, exits)
    if form == "code":
        each = F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(early + 1), reduction="none")
        return (exit_probability(c) * each.view_as(c)).mean(0).sum() + regularised
    final = cross_entropy(logits[:, -1:], labels).sum()
    if early == 0:
        return final
    return final + F.cross_entropy(combined(logits[:, :-1], c[:, :-1]), labels) + regularised


def expected_cost(c: Tensor, leaving: Sequence[float]) -> Tensor:
    """g_1 of g_i = c_i gamma_i + (1 - c_i) g_{i+1} (eq. 16), differentiable in c: (B, E), E costs -> (B,)."""
    cost = c.new_full((len(c),), leaving[-1])
    for i in range(len(leaving) - 2, -1, -1):
        cost = c[:, i] * leaving[i] + (1 - c[:, i]) * cost
    return cost


def cost_loss(c: Tensor, leaving: Sequence[float], max_cost: float, full_cost: float) -> Tensor:
    """L_cost = max(0, g_1 - M_max) / (F_M(full) - M_max) (eq. 17): (B, E) -> ().

    g_1 is the mean over the samples: the bound is on mean MACs, and a dear sample may be paid for by cheap ones. 0
    where the full network keeps the bound.
    """
    if full_cost <= max_cost:
        return c.new_zeros(())
    return F.relu(expected_cost(c, leaving).mean() - max_cost) / (full_cost - max_cost)


def support_matrix(correct: Tensor, labels: Tensor, classes: int) -> Tensor:
    """SM: each exit's accuracy on the samples of each class. (M, E) bool, (M,) -> (K, E).

    Raises:
        ValueError: a class has no sample.
    """
    counts = labels.bincount(minlength=classes)
    if (counts == 0).any():
        absent = (counts == 0).nonzero().flatten().tolist()
        raise ValueError(f"the support set has no sample of the classes {absent}; take a larger share")
    sums = torch.zeros(classes, correct.shape[1], device=correct.device).index_add_(0, labels, correct.float())
    return sums / counts[:, None]


def peak_loss(c: Tensor, matrix: Tensor, labels: Tensor) -> Tensor:
    """L_peak: mean over samples n and exits i of (c_{n,i} - SM[y_n, i])^2 (eq. 18). (B, G), (K, G), (B,) -> ().

    Raises:
        ValueError: `c` and `matrix` are not of the same exits.
    """
    if c.shape[1] != matrix.shape[1]:
        raise ValueError(f"c has {c.shape[1]} exits, the support matrix {matrix.shape[1]}")
    return (c - matrix[labels]).square().mean()
