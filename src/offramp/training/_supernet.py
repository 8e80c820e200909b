"""Training the supernet: sandwich rule, in-place distillation, all exits supervised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from offramp.nn import Supernet
from offramp.progress import Silent, Tracker
from offramp.spaces import SearchSpace
from offramp.training._fit import Images, Loss, fit, pick_device
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
    first `settings.largest_epochs` epochs there is the largest network only (Cai et al. 2020): it costs a fraction of a
    full step, and what it learns is what the others share.

    Raises:
        CheckpointError: `checkpoint` was written for another `identity`.
    """
    supernet = Supernet(space, seed).to(pick_device())
    supernet.normalise(data.mean, data.std)

    def distilled(logits: Tensor, labels: Tensor, teacher: Tensor) -> Tensor:
        return mixed(logits, labels, teacher, settings.distill, settings.temperature)

    def loss_of(epoch: int, step: int) -> Loss:
        networks = space.sandwich(np.random.default_rng((seed, step)), settings.randoms, settings.variants)
        if epoch < settings.largest_epochs:
            networks = networks[:1]
        exits = len(networks[0][0].exits)

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            logits = supernet(images, *networks[0])
            finals = logits[:, exits - 1 :: exits]
            early = [e for e in range(logits.shape[1]) if e % exits < exits - 1]
            teacher = finals.detach().log_softmax(-1).mean(1)
            total = cross_entropy(finals, labels).sum() + distilled(logits[:, early], labels, teacher).sum()
            for network in networks[1:]:
                total = total + distilled(supernet(images, *network), labels, teacher).sum()
            # A sum over networks and exits: as a mean, the last stages would learn at a fraction of the learning rate.
            return total / len(networks[0])

        return loss

    fit(
        supernet, loss_of, data, settings, settings.epochs,
        seed=seed, identity=identity, checkpoint=checkpoint, track=track or Silent(),
    )  # fmt: skip
    return supernet
