"""A supernet that begins with the weights of another one, or of one network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from offramp.architecture import Architecture
from offramp.nn.network import EarlyExitNet
from offramp.nn.quantize import is_quantized
from offramp.nn.supernet import Supernet, shared_name, transformed


def load_shared(supernet: Supernet, path: str | Path) -> list[str]:
    """Put the weights of a run's `supernet.safetensors` into `supernet`; gives the names that were not found there.

    Tensors of the same name begin alike, as far as both reach: leading channels, and kernels made smaller as there. So
    a network that both spaces hold computes what it did there, where these have the same kind of backbone. Classifiers
    of another number of classes stay as they are.

    Raises:
        ValueError: the file cannot be read, or no tensor of it has a name and rank that this space knows.
    """
    stored = _read(Path(path))
    return _taken(supernet, {key.removeprefix("weights."): tensor for key, tensor in stored.items()}, path)


def load_network(supernet: Supernet, folder: str | Path) -> list[str]:
    """Put the weights of one network in float, those of `read_network`, into `supernet`; gives the names that were not
    found there.

    As `load_shared`: layers at the same place of the same stage begin alike, as far as both reach.

    Raises:
        ValueError: as `read_network`, or the network shares nothing with this space.
    """
    return _taken(supernet, read_network(folder), folder)


def read_network(folder: str | Path) -> dict[str, Tensor]:
    """A folder's `architecture.json` and `weights.safetensors`: its parameters by their names in a supernet.

    Raises:
        ValueError: a file cannot be read, they are not of one network, or it is one of few bits.
    """
    try:
        architecture = Architecture.load(Path(folder, "architecture.json"))
    except OSError as error:
        raise ValueError(f"{folder} holds no network: {error}") from error
    if is_quantized(architecture.precision):
        raise ValueError(f"{folder} holds a network of few bits, whose batch norm is folded; take one in float")
    stored = _read(Path(folder, "weights.safetensors"))
    with torch.device("meta"):
        own = {name: tensor.shape for name, tensor in EarlyExitNet(architecture).named_parameters()}
    if wrong := [name for name, shape in own.items() if name not in stored or stored[name].shape != shape]:
        raise ValueError(
            f"{folder}: weights.safetensors are not those of architecture.json; {len(wrong)} of {len(own)} tensors are "
            f"missing or of another shape, the first {wrong[0]}"
        )
    return {shared_name(architecture, name): stored[name] for name in own}


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read as weights: {error}") from error


def _taken(supernet: Supernet, weights: Mapping[str, Tensor], path: str | Path) -> list[str]:
    """Copy what fits; gives the names that `weights` lack."""
    found = {name: _shrunk(supernet, name, weights) for name in supernet.weights if name in weights}
    fitting = {name: tensor for name, tensor in found.items() if _fits(name, supernet.weights[name], tensor)}
    if not fitting:
        raise ValueError(
            f"{path} holds no weights that space {supernet.space.name!r} shares; take those of a network or run that "
            "has the same backbone"
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
