"""A supernet that begins with the weights of another one."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from offramp.nn.supernet import Supernet


def load_shared(supernet: Supernet, path: str | Path) -> list[str]:
    """Put the weights of a run's `supernet.safetensors` into `supernet`; gives the names that were not found there.

    Tensors of the same name begin alike, as far as both reach: leading channels and the centre of a kernel, as in a
    slice. So a network that both spaces hold computes what it did there. Classifiers of another number of classes stay
    as they are.

    Raises:
        ValueError: the file cannot be read, or no tensor of it has a name and rank that this space knows.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read as a supernet's weights: {error}") from error
    found = {name: stored[key] for name in supernet.weights if (key := f"weights.{name}") in stored}
    fitting = {name: tensor for name, tensor in found.items() if _fits(name, supernet.weights[name], tensor)}
    if not fitting:
        raise ValueError(
            f"{path} holds no weights that space {supernet.space.name!r} shares; take a run of a space that has "
            "the same backbone"
        )
    with torch.no_grad():
        for name, tensor in fitting.items():
            here, there = supernet.weights[name], tensor
            for dim, sizes in enumerate(zip(here.shape, there.shape)):
                here, there = (_narrowed(t, dim, min(sizes)) for t in (here, there))
            here.copy_(there)
    return [name for name in supernet.weights if name not in fitting]


def _fits(name: str, here: Tensor, there: Tensor) -> bool:
    return here.dim() == there.dim() and ("/classifier/" not in name or len(here) == len(there))


def _narrowed(tensor: Tensor, dim: int, size: int) -> Tensor:
    return tensor.narrow(dim, (tensor.shape[dim] - size) // 2 if dim > 1 else 0, size)
