"""A supernet that begins with the weights of another one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from offramp.nn.supernet import Supernet, transformed


def load_shared(supernet: Supernet, path: str | Path) -> list[str]:
    """Put the weights of a run's `supernet.safetensors` into `supernet`; gives the names that were not found there.

    Tensors of the same name begin alike, as far as both reach: leading channels, and kernels made smaller as there. So
    a network that both spaces hold computes what it did there, where these have the same kind of backbone. Classifiers
    of another number of classes stay as they are.

    Raises:
        ValueError: the file cannot be read, or no tensor of it has a name and rank that this space knows.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read as a supernet's weights: {error}") from error
    weights = {key.removeprefix("weights."): tensor for key, tensor in stored.items()}
    found = {name: _shrunk(supernet, name, weights) for name in supernet.weights if name in weights}
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


def _shrunk(supernet: Supernet, name: str, stored: Mapping[str, Tensor]) -> Tensor:
    """A stored tensor; a kernel that is larger than here after the steps that its own supernet learned for that."""
    tensor, wanted = stored[name], supernet.weights[name].shape[-1:]
    while name.endswith("/depthwise/conv/weight") and tensor.shape[-1:] > wanted:
        size = tensor.shape[-1]
        matrix = stored.get(Supernet.transform_key(name, f"{size}to{size - 2}"))
        if matrix is None:
            break
        tensor = transformed(tensor, matrix)
    return tensor


def _fits(name: str, here: Tensor, there: Tensor) -> bool:
    return here.dim() == there.dim() and ("/classifier/" not in name or len(here) == len(there))


def _narrowed(tensor: Tensor, dim: int, size: int) -> Tensor:
    return tensor.narrow(dim, (tensor.shape[dim] - size) // 2 if dim > 1 else 0, size)
