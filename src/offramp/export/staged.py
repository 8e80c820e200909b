"""Running stages that `export_tflite` wrote, one after another until an exit is sure enough: LiteRT and numpy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offramp.export._errors import ModelError
from offramp.policy import CERTAIN, Policy, confidence


class StagedModel:
    """A folder with a `stages.json`; see `docs/npu.md`.

    Raises:
        ModelError: the folder holds none, or one that `export_tflite` did not write.
        RuntimeError: LiteRT is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        path = Path(folder) / "stages.json"
        if not path.is_file():
            raise ModelError(f"{path}: no such file. Give a folder that export_tflite wrote.")
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            self.input = tuple(about["input"])
            self.classes = tuple(about["classes"])
            self.policy = Policy.from_dict(about["policy"])
            self._mean, self._std = (np.array(about[name], np.float32)[:, None, None] for name in ("mean", "std"))
            files = [path.parent / stage["file"] for stage in about["stages"]]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ModelError(f"{path}: lacks or garbles {error}. Export the stages again.") from error
        try:
            self._stages = [_Stage(file) for file in files]
        except (OSError, ValueError) as error:  # missing, or no TFLite file
            raise ModelError(f"{path.parent}: a stage cannot be read: {error}. Export the stages again.") from error

    def run(
        self, image: NDArray[np.uint8], thresholds: Sequence[float] | None = None
    ) -> tuple[NDArray[np.float32], int]:
        """Logits (K,) of the exit taken, and its number.

        Args:
            image: uint8 (C, H, W).
            thresholds: E - 1 of them; the policy's where none are given.

        Raises:
            ModelError: image or thresholds do not fit.
        """
        limits = self.policy.thresholds if thresholds is None else tuple(thresholds)
        if len(limits) != self.policy.exits - 1 or np.isnan(np.asarray(limits, float)).any():
            raise ModelError(f"thresholds is {thresholds!r}; {self.policy.exits - 1} numbers are needed")
        if image.dtype != np.uint8 or image.shape != self.input:
            raise ModelError(f"image is {image.dtype} {image.shape}; uint8 {self.input} is needed")
        x = self._stages[0].rounded(((image.astype(np.float32) - self._mean) / self._std).transpose(1, 2, 0)[None])
        classes, said, gates = len(self.classes), [], []
        for stage in self._stages:
            outputs = stage.run(x)
            x = outputs.get("features", x)
            if "logits" not in outputs:
                continue
            logits = stage.real("logits", outputs["logits"])
            said.append(logits[0, :classes])
            gates.append(logits[0, classes] if logits.shape[1] > classes else CERTAIN)
            if len(said) > len(limits):
                break
            score = confidence(self.policy.measure, np.array([said]), np.array([gates]))[0, -1]
            if float(score) >= limits[len(said) - 1]:
                break
        return said[-1], len(said) - 1


class _Stage:
    """One file, under LiteRT's interpreter on the CPU, one thread."""

    def __init__(self, path: Path) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ModuleNotFoundError as error:
            raise RuntimeError(
                f"running TFLite files needs {error.name!r}, which is not installed: pip install ai-edge-litert"
            ) from None
        self._interpreter: Any = Interpreter(str(path), num_threads=1)
        self._runner = self._interpreter.get_signature_runner()
        self._input = self._runner.get_input_details()["input"]["quantization"]
        self._outputs = {name: found["quantization"] for name, found in self._runner.get_output_details().items()}

    def rounded(self, x: NDArray[np.float32]) -> NDArray[np.int8]:
        scale, zero = self._input
        return (np.rint(x / np.float32(scale)) + zero).clip(-128, 127).astype(np.int8)

    def run(self, x: NDArray[np.int8]) -> dict[str, NDArray[np.int8]]:
        found: dict[str, NDArray[np.int8]] = self._runner(input=x)
        return found

    def real(self, name: str, x: NDArray[np.int8]) -> NDArray[np.float32]:
        scale, zero = self._outputs[name]
        return (x.astype(np.float32) - zero) * np.float32(scale)
