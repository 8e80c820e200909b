"""Running a `model.onnx` under ONNX Runtime; numpy only, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

_ERRORS_ONLY = 3


def open_session(model: str | Path | bytes, threads: int = 1, profile: str | None = None) -> Any:
    """An inference session on the CPU. Whatever ONNX Runtime raises for a bad file comes through.

    Args:
        model: a path, or the bytes of a file.
        threads: for one operator; the networks are small, and more than one rarely helps at batch 1.
        profile: where given, the beginning of the name of a file that ONNX Runtime writes its profile to.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = _ERRORS_ONLY
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, profile
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def run(session: Any, image: np.ndarray, thresholds: Sequence[float] | np.ndarray) -> tuple[NDArray[np.float32], int]:
    """One image (C, H, W), values in 0..255 -> logits (K,) of the exit taken, and its number."""
    feeds = {"image": image[None].astype(np.float32)}
    if len(thresholds):  # a file of one exit has no such input
        feeds["thresholds"] = as_input(thresholds)
    logits, taken = session.run(["logits", "exit"], feeds)
    return logits[0], int(taken)


def as_input(thresholds: Sequence[float] | np.ndarray) -> NDArray[np.float32]:
    """Thresholds as the file reads them, rounded up: no float32 score lies between the exact one and this."""
    exact = np.asarray(thresholds, np.float64)
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    return np.where(rounded < exact, np.nextafter(rounded, np.float32(np.inf)), rounded)


def forced(exit: int, exits: int) -> list[float]:
    """Thresholds with which every sample leaves at `exit` of `exits`."""
    return [np.inf] * exit + [-np.inf] * (exits - 1 - exit)
