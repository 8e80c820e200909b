"""What every exit said of every sample."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from offramp.policy.confidence import CERTAIN, checked_gates, checked_logits, confidence


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """A network, run once: the logits of every exit for every sample, and the labels. Read-only.

    Attributes:
        logits: (N, E, K) float32, finite; exits in the order in which a sample passes them.
        labels: (N,) int64, in 0..K-1.
        gates: (N, E) float32, finite: the logits of the exits' own confidences (`CERTAIN` at exits without a gate, as
            the last); None for a network without gates.

    Raises:
        ValueError: shapes that do not fit, logits or gates that are not finite, labels outside 0..K-1.
    """

    logits: np.ndarray
    labels: np.ndarray
    gates: np.ndarray | None = None
    _scores: dict[str, NDArray[np.float32]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        logits = checked_logits(self.logits)
        object.__setattr__(self, "logits", _read_only(logits))
        object.__setattr__(self, "labels", _read_only(_checked_labels(self.labels, logits)))
        if self.gates is not None:
            object.__setattr__(self, "gates", _read_only(checked_gates(self.gates, logits)))

    @property
    def samples(self) -> int:
        """N, the number of samples."""
        return self.logits.shape[0]

    @property
    def exits(self) -> int:
        """E, the number of exits, the last included."""
        return self.logits.shape[1]

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return self.logits.shape[2]

    @cached_property
    def predictions(self) -> NDArray[np.int64]:
        """(N, E), the class each exit names."""
        return _read_only(self.logits.argmax(axis=-1))

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """(N, E), whether that class is the label."""
        return _read_only(self.predictions == self.labels[:, None])

    @cached_property
    def exit_accuracy(self) -> NDArray[np.float64]:
        """(E,), the accuracy of each exit on all samples, in 0..1."""
        return _read_only(self.correct.mean(axis=0))

    def scores(self, measure: str) -> NDArray[np.float32]:
        """(N, E), how sure each exit is under `measure`, larger is surer; computed once and kept.

        Raises:
            ValueError: the measure is unknown, or needs gates and the table has none.
        """
        if measure not in self._scores:
            self._scores[measure] = _read_only(confidence(measure, self.logits, self.gates))
        return self._scores[measure]

    def subset(self, exits: Sequence[int]) -> "ScoreTable":
        """The table of the network that keeps only these exits.

        Args:
            exits: ascending positions in 0..E-1, the last exit among them.

        Raises:
            ValueError: the positions are not ascending, not in the table, or lack the last exit.
        """
        chosen = [int(e) for e in exits]
        if not chosen or chosen[0] < 0 or chosen[-1] != self.exits - 1 or sorted(set(chosen)) != chosen:
            raise ValueError(
                f"exits must ascend within 0..{self.exits - 1} and end with {self.exits - 1}, not {chosen}"
            )
        return self.keep(chosen)

    def keep(self, exits: Sequence[int]) -> "ScoreTable":
        """As `subset`, but the last exit may go too: the last one kept is the final exit then, and certain.

        Raises:
            ValueError: the positions are none, not ascending, or not in the table.
        """
        chosen = [int(e) for e in exits]
        if not chosen or chosen[0] < 0 or chosen[-1] >= self.exits or sorted(set(chosen)) != chosen:
            raise ValueError(f"exits must be one or more ascending positions in 0..{self.exits - 1}, not {chosen}")
        gates = None if self.gates is None else self.gates[:, chosen]
        if gates is not None:
            gates[:, -1] = CERTAIN
        return ScoreTable(self.logits[:, chosen], self.labels, gates)

    def rows(self, samples: np.ndarray) -> "ScoreTable":
        """The table of some samples only: their positions (M,), or a mask (N,)."""
        return ScoreTable(
            self.logits[samples], self.labels[samples], None if self.gates is None else self.gates[samples]
        )

    def save(self, path: str | Path) -> None:
        """Write the table to `path` as a compressed .npz (the name is taken as it stands)."""
        with open(path, "wb") as file:
            if self.gates is None:
                np.savez_compressed(file, logits=self.logits, labels=self.labels)
            else:
                np.savez_compressed(file, logits=self.logits, labels=self.labels, gates=self.gates)

    @classmethod
    def load(cls, path: str | Path) -> "ScoreTable":
        """Read a table that `save` wrote. ValueError if the file is not one."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                return cls(stored["logits"], stored["labels"], stored.get("gates"))
        except (AttributeError, BadZipFile, EOFError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a score table: {error}") from error


def _checked_labels(labels: np.ndarray, logits: np.ndarray) -> NDArray[np.int64]:
    labels = np.asarray(labels)
    samples, _, classes = logits.shape
    if labels.shape != (samples,):
        raise ValueError(f"labels must have the shape ({samples},), one for each sample, not {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be integers, not {labels.dtype}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must lie in 0..{classes - 1}, not in {labels.min()}..{labels.max()}")
    return labels.astype(np.int64, copy=False)


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
