"""How networks are trained: plain numbers, read from a recipe, without torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt


class OptimiserSettings(BaseModel):
    """SGD with Nesterov momentum under a one-cycle schedule (linear-cosine rise, cosine fall to near zero)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: PositiveInt = Field(128, description="images per step")
    lr: PositiveFloat = Field(0.2, description="peak learning rate")
    warmup: float = Field(0.15, ge=0, le=0.9, description="share of the steps in which the rate rises")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(2e-4, ge=0, description="of convolution and linear weights; norms and biases have none")
    clip: PositiveFloat = Field(5.0, description="largest norm of the gradient")
    distill: float = Field(0.5, ge=0, le=1, description="share of the loss that imitates the teacher")
    temperature: PositiveFloat = Field(2.0, description="softens teacher and student alike")


class SupernetSettings(OptimiserSettings):
    """Sandwich rule: per step the largest, the smallest and `randoms` random networks, all exits supervised."""

    epochs: PositiveInt = 20
    largest_epochs: NonNegativeInt = Field(
        0, description="how many of the epochs, at the start, train the largest network alone (progressive shrinking)"
    )
    randoms: NonNegativeInt = Field(1, description="random backbones per step")
    variants: NonNegativeInt = Field(2, description="further branches that every exit of a step's backbones trains")


class TrainSettings(OptimiserSettings):
    """Mixed regime (arXiv 2407.14320): the backbone with its final exit first, then all exits jointly."""

    lr: PositiveFloat = 0.1
    backbone_epochs: NonNegativeInt = 2
    joint_epochs: PositiveInt = 18
    final_weight: PositiveFloat = Field(1.0, description="weight of the final exit's loss; the others weigh 1")
    inherit: bool = Field(True, description="start from the supernet's weights; otherwise from scratch")

    @property
    def epochs(self) -> int:
        """Both phases together."""
        return self.backbone_epochs + self.joint_epochs
