"""How networks are trained: plain numbers, read from a recipe, without torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator


def _optional(default: object, **more: Any) -> Any:
    """A field that stays out of the dump at its default, so that checkpoints written before it are still continued."""
    return Field(default, exclude_if=lambda value: value == default, **more)


class OptimiserSettings(BaseModel):
    """SGD with Nesterov momentum under a one-cycle schedule (cosine rise, cosine fall to near zero).

    With `optimiser = "muon"`, kernels that mix channels (all but depthwise ones) are stepped by Muon under a schedule
    of the same form, the rest by SGD: small networks come further in as many epochs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    batch: PositiveInt = Field(128, description="images per step")
    lr: PositiveFloat = Field(0.2, description="peak learning rate")
    warmup: float = Field(0.15, ge=0, le=0.9, description="share of the steps in which the rate rises")
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD's, after Nesterov")
    weight_decay: float = Field(2e-4, ge=0, description="of convolution and linear weights; norms and biases have none")
    clip: PositiveFloat = Field(
        5.0, description="largest norm of the gradient; with exit_gradient = 0 of the backbone's and of each branch's"
    )
    optimiser: Literal["sgd", "muon"] = _optional("sgd", description="of kernels that mix channels")
    muon_lr: PositiveFloat = _optional(0.02, description="Muon's peak learning rate")
    muon_decay: float = _optional(0.05, ge=0, description="Muon's decoupled weight decay, per unit of its rate")


class DistilSettings(OptimiserSettings):
    """And a teacher: the last exit, or in a supernet that of the largest network."""

    distill: float = Field(0.5, ge=0, le=1, description="share of the loss that imitates the teacher")
    temperature: PositiveFloat = Field(2.0, description="softens teacher and student alike")


class SupernetSettings(DistilSettings):
    """Sandwich rule: per step the largest, the smallest and `randoms` random networks, all exits supervised."""

    epochs: NonNegativeInt = Field(20, description="0 keeps the weights of `init` as they are")
    largest_epochs: NonNegativeInt = _optional(
        0, description="how many of the epochs, at the start, train the largest network alone, in float"
    )
    init: str | None = _optional(
        None,
        pattern=r"^(ofa|run|network):.+",
        description='"ofa:PATH" begins with a Once-for-All checkpoint, "run:FOLDER" with the supernet of another run, '
        '"network:FOLDER" with one network, as in chosen/NAME',
    )
    randoms: NonNegativeInt = Field(1, description="random backbones per step")
    exit_gradient: float = _optional(
        1.0, ge=0, le=1, description="share of the early exits' gradient that the backbones learn from; 0: none"
    )
    variants: NonNegativeInt = Field(2, description="further branches that every exit of a step's backbones trains")


class TrainSettings(DistilSettings):
    """Mixed regime (arXiv 2407.14320): the backbone with its final exit first, then all exits jointly.

    A network of few bits is then quantized and imitates itself in float for `quantized_epochs`, by SGD.
    """

    lr: PositiveFloat = Field(0.1, description="peak learning rate")
    backbone_epochs: NonNegativeInt = Field(2, description="of the backbone with its final exit alone")
    joint_epochs: PositiveInt = Field(18, description="then, of all exits together")
    final_weight: PositiveFloat = Field(1.0, description="weight of the final exit's loss; the others weigh 1")
    exit_gradient: float = _optional(
        1.0, ge=0, le=1, description="share of the early exits' gradient that the backbone learns from; 0: none"
    )
    quantized_epochs: NonNegativeInt = _optional(4, description="further ones at few bits, where the network has them")
    quantized_lr: PositiveFloat = _optional(0.003, description="peak learning rate of these epochs, always SGD's")
    inherit: bool = Field(True, description="start from the supernet's weights; otherwise from scratch")

    @property
    def epochs(self) -> int:
        """Both phases in float together."""
        return self.backbone_epochs + self.joint_epochs

    def in_float(self) -> dict[str, Any]:
        """What these two phases depend on; without the quantized one's own, as several precisions share them."""
        found = self.model_dump(exclude={"quantized_epochs", "quantized_lr"})
        # Checkpoints from when all gradients were clipped together there are not continued.
        return found | ({"clipped": "apart"} if self.exit_gradient == 0 else {})


class GateSettings(OptimiserSettings):
    """NACHOS's schedule for exits with a gate: L = w1 L_acc + w2 L_cost + w3 L_peak (eq. 14).

    Phase 1 trains the backbone with its final exit by cross-entropy, phase 2 everything by L with w3 = 0, phase 3 by
    all of L. Phases, batch, rate, momentum and decay are the paper's, for ImageNet weights; from scratch raise `lr`.
    """

    lr: PositiveFloat = Field(0.01, description="peak learning rate")
    weight_decay: float = Field(5e-5, ge=0, description="of convolution and linear weights; norms and biases have none")
    phases: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] = Field(
        (10, 5, 5), description="epochs of each phase"
    )
    weight_accuracy: float = Field(1.0, ge=0, description="w1, of L_acc")
    weight_cost: float = Field(1.0, ge=0, description="w2, of L_cost; without max_macs there is none")
    weight_peak: float = Field(1.0, ge=0, description="w3, of L_peak")
    accuracy_form: Literal["paper", "code"] = Field("paper", description="L_acc of the paper's text, or of its code")
    mac_rule: Literal["executed", "paper"] = Field(
        "executed", description="how leaving at an exit is charged in L_cost; in a recipe that of the policy"
    )
    max_macs: PositiveFloat | None = Field(None, description="M_max in L_cost; in a recipe the policy's mean_macs")
    support: float = Field(0.1, gt=0, lt=1, description="share of train that L_peak's support matrix is measured on")

    @model_validator(mode="after")
    def _trains(self) -> GateSettings:
        if not sum(self.phases):
            raise ValueError("phases are all 0; give at least one epoch")
        return self

    @property
    def epochs(self) -> int:
        """All phases together."""
        return sum(self.phases)
