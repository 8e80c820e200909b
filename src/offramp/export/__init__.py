"""Networks as files that really stop early: one `model.onnx`, written, checked and run.

Nothing here imports torch before a name that needs it is used, so that `offramp.export.predict` can serve
`offramp predict`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from offramp.export._errors import ExportError, ModelError

if TYPE_CHECKING:
    from offramp.export._check import Check as Check
    from offramp.export._export import export_onnx as export_onnx
    from offramp.export._tflite import export_tflite as export_tflite
    from offramp.export.predict import Model as Model
    from offramp.export.predict import Prediction as Prediction
    from offramp.export.staged import StagedModel as StagedModel

_LAZY = {
    "Check": "_check",
    "Model": "predict",
    "Prediction": "predict",
    "StagedModel": "staged",
    "export_onnx": "_export",
    "export_tflite": "_tflite",
}

__all__ = ["Check", "ExportError", "Model", "ModelError", "Prediction", "StagedModel", "export_onnx", "export_tflite"]


def __getattr__(name: str) -> Any:
    """Import the file behind a public name when the name is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
