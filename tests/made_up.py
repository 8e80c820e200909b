"""Scores that no network has given."""

import numpy as np

from offramp.policy import ScoreTable


def five_exits() -> ScoreTable:
    """300 samples of four classes, five exits, later ones better."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    logits = rng.normal(size=(300, 5, 4)).astype(np.float32)
    logits[np.arange(300), :, labels] += np.linspace(0.5, 2.5, 5)
    return ScoreTable(logits, labels)
