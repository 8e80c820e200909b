"""Training the supernet: sandwich rule, in-place distillation, all exits supervised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from offramp.architecture import Precision
from offramp.nn import Supernet
from offramp.nn.ofa import load_ofa
from offramp.nn.warm_start import load_network, load_shared
from offramp.progress import Silent, Tracker, tell
from offramp.spaces import SearchSpace
from offramp.training._exits import damped
from offramp.training._fit import Images, Loss, fit, pick_device
from offramp.training._gate_losses import gate_loss, gated_exits, split_gates
from offramp.training._losses import cross_entropy, mixed
from offramp.training.settings import SupernetSettings


def train_supernet(
    space: SearchSpace,
    data: Images,
    settings: SupernetSettings,
    *,
    seed: int = 0,
    identity: str = "",
    checkpoint: Path | None = None,
    track: Tracker | None = None,
) -> Supernet:
    """The supernet of `space` trained on `data.train`; continues from `checkpoint` where that exists.

    Per step (Yu & Huang 2019): the largest network learns from the labels, its earlier exits also from its last; the
    smallest and `settings.randoms` random ones learn from the labels and from the largest network's last exit. In the
    first `settings.largest_epochs` epochs there is the largest network only, in float (Cai et al. 2020): it costs a
    fraction of a full step, and what it learns is what the others share. Then every network computes at its own bits.
    Gates learn beside by `confidence_loss`. Early exits hand back `settings.exit_gradient` of their gradient.

    Raises:
        CheckpointError: `checkpoint` was written for another `identity`.
        OfaError: `settings.init` names a checkpoint that does not hold this space's weights.
        ValueError: it names a run whose supernet, or a network that shares none of them.
    """
    supernet = Supernet(space, seed)
    if settings.init is not None:
        _begin(supernet, settings.init)
    supernet = supernet.to(pick_device())
    supernet.normalise(data.mean, data.std)

    def reads(maps: list[Tensor]) -> list[Tensor]:
        return damped(maps, settings.exit_gradient)

    def distilled(logits: Tensor, labels: Tensor, teacher: Tensor) -> Tensor:
        return mixed(logits, labels, teacher, settings.distill, settings.temperature)

    def loss_of(epoch: int, step: int) -> Loss:
        networks = space.sandwich(np.random.default_rng((seed, step)), settings.randoms, settings.variants)
        if epoch < settings.largest_epochs:
            networks = [tuple(network.model_copy(update={"precision": Precision()}) for network in networks[0])]
        exits, gated = len(networks[0][0].exits), [gated_exits(*network) for network in networks]

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            logits, gates = split_gates(supernet(images, *networks[0], reads=reads), space.classes)
            finals = logits[:, exits - 1 :: exits]
            early = [e for e in range(logits.shape[1]) if e % exits < exits - 1]
            teacher = finals.detach().log_softmax(-1).mean(1)
            total = cross_entropy(finals, labels).sum() + distilled(logits[:, early], labels, teacher).sum()
            total = total + gate_loss(logits, gates, labels, gated[0])
            for network, with_gate in zip(networks[1:], gated[1:]):
                logits, gates = split_gates(supernet(images, *network, reads=reads), space.classes)
                total = total + distilled(logits, labels, teacher).sum() + gate_loss(logits, gates, labels, with_gate)
            # A sum over networks and exits: as a mean, the last stages would learn at a fraction of the learning rate.
            return total / len(networks[0])

        return loss

    fit(
        supernet, loss_of, data, settings, settings.epochs,
        seed=seed, identity=identity, checkpoint=checkpoint, track=track or Silent(),
        clipped=_independent(supernet, settings.exit_gradient),
    )  # fmt: skip
    return supernet


def _independent(supernet: Supernet, share: float) -> list[list[Tensor]] | None:
    """As `_exits.independent`: the backbones with the final exit, and the branches of each early place."""
    if share:
        return None
    final = f"stages/{len(supernet.space.largest().stages) - 1}/"
    parts: dict[str, list[Tensor]] = {}
    for name, weight in supernet.weights.items():
        place, exit, _ = name.partition("/exit/")
        parts.setdefault(place if exit and not name.startswith(final) else "", []).append(weight)
    return list(parts.values())


def _begin(supernet: Supernet, init: str) -> None:
    """Put in the weights that `init` names: "ofa:PATH", "run:FOLDER" or "network:FOLDER"."""
    kind, _, path = init.partition(":")
    if kind == "ofa":
        load_ofa(supernet, path)
        return
    if kind == "network":
        new = load_network(supernet, path)
    else:
        new = load_shared(supernet, Path(path, "supernet.safetensors"))
    count = len(supernet.weights)
    if random := [name for name in new if "/exit/" not in name]:
        tell(f"supernet: of the backbone {len(random)} tensors begin at random, such as {random[0].replace('/', '.')}")
    tell(f"supernet: {count - len(new)} of {count} tensors begin as in {path}, the others at random")
