"""The section [export]."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, PositiveInt

from offramp.recipe._section import Section


class ExportSection(Section):
    """The ONNX file."""

    check_images: PositiveInt = Field(1000, description="test images on which ONNX Runtime must agree with PyTorch")
    tolerance: PositiveFloat = Field(1e-3, description="largest difference of a logit")
