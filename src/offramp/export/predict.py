"""Running an exported network on images: ONNX Runtime, numpy and Pillow; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from offramp.data.image import read_image
from offramp.export._errors import ModelError
from offramp.export._metadata import About
from offramp.export._session import open_session, run
from offramp.policy import Policy, confidence

_NO_MODELS = frozenset({".txt", ".toml", ".json", ".npz", ".safetensors", ".tflite", ".html", ".png", ".jpg", ".jpeg"})
_WANTED = "Give the model.onnx of a run, or write one with export_onnx."


class Prediction(NamedTuple):
    """What a network says of one image."""

    class_name: str
    class_index: int
    exit: int
    """The exit taken, 0 to `exits` - 1."""
    exits: int
    confidence: float
    """The softmax probability of the class at that exit, whatever the measure that decides when to leave."""


class Model:
    """A `model.onnx`, opened when it is first asked for something.

    Args:
        path: a file that `export_onnx` wrote.
        threads: for ONNX Runtime.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        self.path, self.threads = Path(path), threads

    @property
    def input(self) -> tuple[int, int, int]:
        """Channels, height, width of the images."""
        return self._about.input

    @property
    def classes(self) -> tuple[str, ...]:
        """The K class names."""
        return self._about.classes

    @property
    def policy(self) -> Policy:
        """The measure built into the file, and the thresholds used where none are given."""
        return self._about.policy

    @property
    def exits(self) -> int:
        """E, the number of exits."""
        return self.policy.exits

    def predict(self, image: np.ndarray | str | Path, thresholds: Sequence[float] | None = None) -> Prediction:
        """Classify one image, stopping at the first exit that is sure enough.

        Args:
            image: uint8 (C, H, W), or an image file, which is resized to fit.
            thresholds: E - 1 of them, in the unit of the measure; inf: nobody leaves there, -inf: everybody.

        Raises:
            ModelError: the file is missing or not an Offramp model, or array or thresholds do not fit it.
            offramp.data.DataError: the image file cannot be read.
        """
        logits, taken = self.run(image, thresholds)
        index = int(logits.argmax())
        probability = float(confidence("max_probability", logits[None, None])[0, 0])
        return Prediction(self.classes[index], index, taken, self.exits, probability)

    def run(
        self, image: np.ndarray | str | Path, thresholds: Sequence[float] | None = None
    ) -> tuple[NDArray[np.float32], int]:
        """As `predict`, but the logits (K,) of the exit taken, and its number."""
        limits = self._checked_thresholds(thresholds)
        if isinstance(image, (str, Path)):
            return run(self.session, read_image(image, self.input), limits)
        return run(self.session, self._checked_image(image), limits)

    @cached_property
    def session(self) -> Any:
        """The `onnxruntime.InferenceSession`. ModelError if the file is missing or not an Offramp model."""
        return self._opened[0]

    @property
    def _about(self) -> About:
        return self._opened[1]

    @cached_property
    def _opened(self) -> tuple[Any, About]:
        if not self.path.is_file():
            raise ModelError(f"{self.path}: no such file. {_WANTED}")
        try:
            session = open_session(self.path, self.threads)
        except Exception as error:  # ONNX Runtime has an exception class of its own for every failure
            if self.path.suffix.lower() in _NO_MODELS:  # what the parser says of those helps nobody
                raise ModelError(f"{self.path}: not an ONNX file that can be read. {_WANTED}") from error
            raise ModelError(f"{self.path}: ONNX Runtime cannot open it ({error}). Export the model again.") from error
        try:
            return session, About.from_metadata(session.get_modelmeta().custom_metadata_map)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{self.path}: an ONNX file, but not one that Offramp wrote: its metadata lack or garble {error}. "
                f"{_WANTED}"
            ) from error

    def _checked_thresholds(self, thresholds: Sequence[float] | None) -> Sequence[float]:
        if thresholds is None:
            return self.policy.thresholds
        needed = self.exits - 1
        if len(thresholds) != needed or np.isnan(np.asarray(thresholds, float)).any():
            raise ModelError(
                f"thresholds is {thresholds!r}; {self.path} has {self.exits} exits and needs {needed} of them"
            )
        return thresholds

    def _checked_image(self, image: np.ndarray) -> np.ndarray:
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.shape != self.input:
            found = f"{image.dtype} {image.shape}"
            raise ModelError(f"image is {found}; {self.path} needs uint8 {self.input}: channels, height, width")
        return image
