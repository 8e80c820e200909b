"""The one training loop: epochs of batches, a one-cycle schedule, a checkpoint after every epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from offramp.data import Augment, Split, batches
from offramp.nn.quantize import rounds
from offramp.progress import Tracker
from offramp.training import _checkpoint
from offramp.training._optimiser import Optimiser
from offramp.training._parallel import Workers
from offramp.training.settings import GateSettings, OptimiserSettings, SupernetSettings

Loss = Callable[[Tensor, Tensor], Tensor]
"""float images (B, C, H, W), labels (B,) -> scalar"""


class Images(Protocol):
    """What training needs of a data set; the search's view of a `Task` has no more than this."""

    @property
    def train(self) -> Split:
        """What weights are fitted to."""

    @property
    def augment(self) -> Augment:
        """How its images are varied."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Each channel's mean, in 0..255."""

    @property
    def std(self) -> tuple[float, ...]:
        """Each channel's standard deviation, in 0..255."""


def fit(
    module: nn.Module,
    loss_of: Callable[[int, int], Loss],
    data: Images,
    settings: OptimiserSettings,
    epochs: int,
    *,
    seed: int,
    identity: str,
    checkpoint: Path | None = None,
    track: Tracker,
    samples_of: Callable[[int], Tensor] | None = None,
    clipped: Sequence[Sequence[Tensor]] | None = None,
) -> list[float]:
    """Train `module` in place; gives every epoch's mean loss.

    `loss_of(epoch, step)` is asked for the loss of each step. Everything random comes from (`seed`, epoch, step), so
    a run continued from its checkpoint computes what an uninterrupted one does. `samples_of(epoch)` gives the positions
    of the train images that an epoch uses, all of them where it is None. `clipped`: parameters whose gradients are
    clipped together; all of them where it is None.

    Raises:
        CheckpointError: `checkpoint` belongs to another training.
        FloatingPointError: the loss became infinite or NaN.
    """
    if epochs == 0:
        return []
    device = next(module.parameters()).device
    used = [len(data.train) if samples_of is None else len(samples_of(epoch)) for epoch in range(epochs)]
    lengths = [count // settings.batch for count in used]
    if 0 in lengths:
        raise ValueError(
            f"batch is {settings.batch}, but the train split has only {min(used)} images for an epoch; take less"
        )
    params = [p for p in module.parameters() if p.requires_grad]
    optimiser = Optimiser(params, settings, sum(lengths))
    losses = _resume(checkpoint, identity, module, optimiser)
    track.advance(sum(lengths[: len(losses)]) * settings.batch)
    with Workers(settings.batch, device) as workers:
        for epoch in range(len(losses), epochs):
            generator, total = (
                torch.Generator().manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])),
                0.0,
            )
            split = data.train if samples_of is None else part(data.train, samples_of(epoch))
            stream = batches(split, settings.batch, shuffle_generator=generator, augment=data.augment, drop_last=True)
            for step, (images, labels) in enumerate(stream):
                loss = loss_of(epoch, sum(lengths[:epoch]) + step)
                total += workers.backward(loss, params, to_float(images, device), labels.to(device))
                for together in [params] if clipped is None else clipped:
                    nn.utils.clip_grad_norm_(together, settings.clip)
                optimiser.step()
                track.advance(len(images), f"epoch {epoch + 1}/{epochs}, loss {total / (step + 1):.3f}")
            losses.append(total / lengths[epoch])
            if not torch.isfinite(torch.tensor(losses[-1])):
                raise FloatingPointError(
                    f"the loss is {losses[-1]} after epoch {epoch + 1}: {_lower(module, settings)}"
                )
            if checkpoint is not None:
                _store(checkpoint, identity, module, optimiser, losses)
    return losses


def _lower(module: nn.Module, settings: OptimiserSettings) -> str:
    """Which learning rate of a recipe is too high, and what it is."""
    sections: dict[type, str] = {SupernetSettings: "supernet", GateSettings: "gates"}
    section = sections.get(type(settings), "train")
    name = "quantized_lr" if section == "train" and rounds(module) else "lr"
    rates = [f"{section}.{name} (now {settings.lr:g})"]
    if settings.optimiser == "muon":
        rates.append(f"{section}.muon_lr (now {settings.muon_lr:g})")
    where = "; where the search trains candidates, that of finetune" if section == "train" else ""
    return f"lower {' or '.join(rates)}{where}"


def part(split: Split, positions: Tensor) -> Split:
    """Some images of a split; the split itself, not a copy, where they are all of it."""
    return split if len(positions) == len(split) else Split(split.images[positions], split.labels[positions])


def to_float(images: Tensor, device: torch.device) -> Tensor:
    """uint8 images as float32 in the memory layout that convolutions like best."""
    return images.to(device).float().contiguous(memory_format=torch.channels_last)


def pick_device() -> torch.device:
    """CUDA where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _store(path: Path, identity: str, module: nn.Module, optimiser: Optimiser, losses: list[float]) -> None:
    state = {"weights": module.state_dict(), "optimiser": optimiser.state_dict(), "losses": losses}
    _checkpoint.save(path, state, identity)


def _resume(path: Path | None, identity: str, module: nn.Module, optimiser: Optimiser) -> list[float]:
    state = None if path is None else _checkpoint.load(path, identity)
    if state is None:
        return []
    module.load_state_dict(state["weights"])
    optimiser.load_state_dict(state["optimiser"])
    return list(state["losses"])
