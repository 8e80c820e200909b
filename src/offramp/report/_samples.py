"""Test images that left at each exit: the surest right ones, and the surest wrong ones."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offramp.policy import ScoreTable, confidence
from offramp.report._delivered import Delivered

if TYPE_CHECKING:
    from offramp.data import Task

RIGHT, WRONG = 8, 5
_LARGEST = 96


class Sample(NamedTuple):
    """One image as a data URI, its number in the split, what it is and what the exit said.

    `confidence` is the exit's largest softmax probability.
    """

    picture: str
    number: int
    truth: str
    predicted: str
    confidence: float


class ExitSamples(NamedTuple):
    """What left at one exit."""

    exit: int
    left: int
    wrong_in_all: int
    right: list[Sample]
    wrong: list[Sample]


def samples(network: Delivered, task: Task | None) -> list[ExitSamples]:
    """One record per exit; none where `sample_sentence` says why."""
    if sample_sentence(network, task):
        return []
    assert task is not None
    assert network.scores is not None
    table, images, classes = network.scores, task.test.images.cpu().numpy(), task.classes
    exits = network.policy.decide(table)
    every = np.arange(table.samples)
    sure = confidence("max_probability", table.logits)[every, exits]
    said, right = table.predictions[every, exits], table.correct[every, exits]

    def sample(i: int) -> Sample:
        truth = classes[int(table.labels[i])]
        return Sample(picture(images[i]), i, truth, classes[int(said[i])], float(sure[i]))

    found = []
    for e in range(table.exits):
        here = np.flatnonzero(exits == e)
        good, bad = here[right[here]], here[~right[here]]
        surest = one_per_class(good[np.argsort(-sure[good], kind="stable")], table.labels)[:RIGHT]
        missed = bad[np.argsort(-sure[bad], kind="stable")][:WRONG]
        right_ones, wrong_ones = ([sample(int(i)) for i in chosen] for chosen in (surest, missed))
        found.append(ExitSamples(e, len(here), len(bad), right_ones, wrong_ones))
    return found


def sample_sentence(network: Delivered, task: Task | None) -> str:
    """Why there are no sample images, where there are none."""
    if task is None:
        return "Sample images are left out: the data was not at hand when this page was written."
    if network.scores is None:
        return "Sample images are left out: there is no test_scores.npz in this network's folder."
    if not _same(network.scores, task):
        return "Sample images are left out: this network was tested on another test split than the data at hand has."
    return ""


def picture(image: NDArray[np.uint8]) -> str:
    """(C, H, W) as a PNG data URI: three channels in colour, otherwise the first in grey; large ones made smaller."""
    pixels = image.transpose(1, 2, 0) if image.shape[0] == 3 else image[0]
    made = Image.fromarray(np.ascontiguousarray(pixels))
    made.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    made.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def one_per_class(order: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """`order` rearranged: the first of every class, then the second of every class, and so on."""
    seen: dict[int, int] = {}
    rounds = []
    for i in order:
        label = int(labels[i])
        rounds.append(seen.get(label, 0))
        seen[label] = rounds[-1] + 1
    return order[np.argsort(rounds, kind="stable")] if len(order) else order


def _same(table: ScoreTable, task: Task) -> bool:
    labels = task.test.labels.cpu().numpy()
    return labels.shape == table.labels.shape and bool((labels == table.labels).all())
