"""Does the file do what the network does? Both are run on the same images and compared."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from offramp.export._errors import ExportError
from offramp.export._session import forced, open_session, run
from offramp.nn import EarlyExitNet
from offramp.nn.quantize import rounds
from offramp.policy import Policy, confidence

CHECK_IMAGES = 1000
PROBE_IMAGES = 8
SCORE_ROUNDING = 1e-4
"""Two runtimes' scores of equal logits may differ by this; so near to a threshold, a sample may go either way."""
SCORE_PER_LOGIT = 4.0
"""A score changes by at most this much for each unit by which every logit changes (up to some thousand classes).
Scores of gates change by at most 1 for each unit of the gates' logits, which a file does not give."""

TOP1_AGREEMENT = 0.995
"""Share of the images that must have the same class; below it a network of few bits is not the same in both. Of as many
the logits must agree: in the others, a value on the verge of two steps may have fallen to the other one."""

EQUAL_LOGITS = 1e-6
"""Classes whose logits differ by this share of the largest are equal, as they often are at 2 bits: either is right."""

_BATCH = 100
_STRAY = 20  # of fewer images, none may have other logits


@dataclass(frozen=True)
class Check:
    """How a file compared with its network in PyTorch, on the images it was given.

    Attributes:
        n: images.
        max_abs_difference: the largest difference of a logit of the exit taken, over all images and thresholds tried.
        tolerance: the largest allowed: the one asked for, times the largest logit where that is above 1.
        exit_agreement: share of the images that left at the same exit, under the policy's thresholds.
        flips: images that did not, because their score lies so near to the threshold that rounding decides: within
            `SCORE_ROUNDING`, and `SCORE_PER_LOGIT` times the largest difference that is allowed and was seen, of it; or
            because they are strays.
        strays: images whose logits differ by more than is allowed, as one in few may in a network of few bits.
        top1_agreement: share of the images given the same class.
        seconds: wall time of the comparison.
    """

    n: int
    max_abs_difference: float
    tolerance: float
    exit_agreement: float
    flips: int
    top1_agreement: float
    strays: int
    seconds: float


@dataclass(frozen=True)
class _Eager:
    """What the network in PyTorch says: uint8 images (N, C, H, W), logits (N, E, K), scores (N, E)."""

    images: NDArray[np.uint8]
    logits: NDArray[np.float32]
    scores: NDArray[np.float32]

    @property
    def exits(self) -> int:
        return self.logits.shape[1]

    def decide(self, thresholds: tuple[float, ...]) -> NDArray[np.int64]:
        """(N,), the exit at which each image leaves."""
        leaves = self.scores[:, :-1].astype(np.float64) >= np.array(thresholds)
        return np.column_stack([leaves, np.ones(len(leaves), bool)]).argmax(1)


def compare(file: bytes, net: EarlyExitNet, policy: Policy, images: Tensor, tolerance: float) -> Check:
    """Run the file under ONNX Runtime (CPU, one thread, one image at a time) against `net` in PyTorch.

    Beside the policy's thresholds it tries, on a few images, those that force every exit, and those a little above
    and below each score, so that no branch of the file and no confidence in it goes unchecked.

    Args:
        file: the bytes of an ONNX file.
        net: frozen, on the CPU.
        policy: for as many exits as `net` has.
        images: uint8 (N, C, H, W); of more than 1000, as many evenly spaced ones are taken.
        tolerance: of logits; relative to the largest logit where that is above 1.

    Raises:
        ExportError: a logit differs by more (in a network of few bits, of more images than one, or 0.5 %), or an image
            leaves at another exit though its score is not within rounding of the threshold.
    """
    begin = time.perf_counter()
    eager = _eager(net, policy.measure, _spaced(images, CHECK_IMAGES))
    session, n = open_session(file), len(eager.images)
    results = [run(session, image, policy.thresholds) for image in eager.images]
    logits, taken = np.stack([r[0] for r in results]), np.array([r[1] for r in results])
    wanted = eager.decide(policy.thresholds)
    gaps = np.maximum(_gaps(eager.logits[np.arange(n), taken], logits), _forced_gaps(session, eager))
    largest, gap = float(np.abs(eager.logits).max()), float(gaps.max())
    allowed, few = tolerance * max(1.0, largest), max(1, int((1 - TOP1_AGREEMENT) * n))
    apart, strays = int((gaps > allowed).sum()), min(few, n // _STRAY) if rounds(net) else 0
    rounding = SCORE_ROUNDING + SCORE_PER_LOGIT * float(gaps[gaps <= allowed].max(initial=0.0))
    excused = _excused(eager, policy.thresholds, wanted, taken, rounding) | (gaps > allowed)
    wrong = int(((wanted != taken) & ~excused).sum())
    misjudged = _misjudged(session, eager, rounding, gaps <= allowed)
    if wrong or misjudged or not np.isfinite(gap) or apart > strays:
        raise ExportError(
            "under ONNX Runtime the exported file does not do what the network does in PyTorch: logits differ by up to "
            f"{gap:.3g} (allowed: {allowed:.3g}; those of {apart} images by more); {wrong} of {n} images leave at "
            f"another exit; {misjudged} of {len(_probes(eager))} images tried have another confidence. Nothing was "
            "written."
        )
    said = eager.logits[np.arange(n), wanted]
    same_class = said[np.arange(n), logits.argmax(1)] >= said.max(1) - EQUAL_LOGITS * largest
    flips = int((wanted != taken).sum())
    # Flips may change the class for a good reason; of one image in few, rounding may.
    others = int((~same_class & (wanted == taken)).sum())
    if others > few:
        raise ExportError(
            f"under ONNX Runtime the exported file gives {others} of {n} images another class than the "
            "network does in PyTorch. Nothing was written."
        )
    seconds = time.perf_counter() - begin
    return Check(n, gap, allowed, 1 - flips / n, flips, float(same_class.mean()), apart, seconds)


@torch.inference_mode()
def _eager(net: EarlyExitNet, measure: str, images: Tensor) -> _Eager:
    said = torch.cat([net(batch.float()) for batch in images.split(_BATCH)]).numpy()
    logits, gates = said[..., : net.architecture.classes], said[..., -1] if net.architecture.gated else None
    try:
        scores = confidence(measure, logits, gates)
    except ValueError as error:
        raise ExportError(f"the network's logits cannot be scored: {error}. Nothing was written.") from error
    return _Eager(images.numpy(), logits, scores)


def _spaced(images: Tensor, count: int) -> Tensor:
    """All of `images`, or `count` of them evenly spaced."""
    if len(images) <= count:
        return images
    return images[torch.linspace(0, len(images) - 1, count).round().long()]


def _gaps(a: np.ndarray, b: np.ndarray) -> NDArray[np.float64]:
    """(N, K) twice -> (N,), the largest difference of each image; NaN counts as infinite."""
    return np.nan_to_num(np.abs(a - b).max(1).astype(np.float64), nan=np.inf)


def _excused(
    eager: _Eager, thresholds: tuple[float, ...], wanted: NDArray[np.int64], taken: NDArray[np.int64], rounding: float
) -> NDArray[np.bool_]:
    """(N,), whether the score is so near to the threshold, where the two ways part, that rounding explains it."""
    parting = np.minimum(wanted, taken).clip(max=max(eager.exits - 2, 0))
    limits = np.array([*thresholds, np.nan])[parting]
    return np.abs(eager.scores[np.arange(len(parting)), parting] - limits) <= rounding


def _probes(eager: _Eager) -> range:
    """Numbers of a few images, spread over all."""
    return range(0, len(eager.images), -(-len(eager.images) // PROBE_IMAGES))


def _forced_gaps(session: Any, eager: _Eager) -> NDArray[np.float64]:
    """(N,), of a few images the largest difference over all exits, infinite where the file leaves elsewhere; else 0."""
    gaps = np.zeros(len(eager.images))
    for exit in range(eager.exits):
        for i in _probes(eager):
            logits, taken = run(session, eager.images[i], forced(exit, eager.exits))
            found = _gaps(eager.logits[i : i + 1, exit], logits[None])[0] if taken == exit else np.inf
            gaps[i] = max(gaps[i], found)
    return gaps


def _misjudged(session: Any, eager: _Eager, rounding: float, near: NDArray[np.bool_]) -> int:
    """How many of a few images, those that are `near` (N,), pass a threshold just above their score, or not one just
    below, at any exit."""

    def leaves(i: int, exit: int, offset: float) -> bool:
        thresholds = forced(exit, eager.exits)
        thresholds[exit] = float(eager.scores[i, exit]) + offset
        return run(session, eager.images[i], thresholds)[1] == exit

    def judged(i: int) -> bool:
        early = range(eager.exits - 1)
        return all(leaves(i, exit, -rounding) and not leaves(i, exit, rounding) for exit in early)

    return sum(not judged(i) for i in _probes(eager) if near[i])
