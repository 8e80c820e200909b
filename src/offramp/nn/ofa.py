"""Reading a Once-for-All MobileNetV3 checkpoint (Cai et al. 2020) into a supernet."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from offramp.architecture import Resize
from offramp.nn.network import EarlyExitNet
from offramp.nn.supernet import Supernet, shared_name

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_UNITS = {"expand": "inverted_bottleneck", "depthwise": "depth_conv", "project": "point_linear"}


class OfaError(ValueError):
    """A file that is not a Once-for-All MobileNetV3 checkpoint, or not one of this space."""


def load_ofa(supernet: Supernet, path: str | Path) -> list[str]:
    """Put the weights of an `ofa_mbv3_d234_e346_k357_w1.0` checkpoint into `supernet`; gives the keys that were not
    used.

    Every slice of the supernet then computes what Once-for-All's own sub-network of the same kernels, expansions and
    depths does, kernel transforms included, once the batch-norm statistics are those of the same images (both estimate
    them anew for each sub-network). The early exits have no counterpart there and stay as they are, and so does the
    classifier where the number of classes differs.

    Raises:
        OfaError: the file cannot be read, or keys are missing, unexpected or of another shape; all are listed.
    """
    stored = _read(Path(path))
    wanted, problems, used = _wanted(supernet), [], set()
    missing = [name for name in wanted if name not in stored]
    known = set(wanted) | {"classifier.linear.weight", "classifier.linear.bias"}
    unexpected = [name for name in stored if name not in known and name.rsplit(".", 1)[-1] not in _STATISTICS]
    for name in wanted.keys() & stored.keys():
        there, here = tuple(stored[name].shape), tuple(supernet.weights[wanted[name]].shape)
        if there[: len(here)] != here or stored[name].numel() != supernet.weights[wanted[name]].numel():
            if name.startswith("classifier."):
                continue
            problems.append(f"{name} has shape {there}, here it is {here}")
        used.add(name)
    if missing or unexpected or problems:
        lines = [
            f"{what} ({len(names)}): {', '.join(sorted(names))}"
            for what, names in (("missing keys", missing), ("unexpected keys", unexpected), ("other shapes", problems))
            if names
        ]
        raise OfaError(
            f"{path} does not hold the weights of space {supernet.space.name!r}, which are those of "
            f"ofa_mbv3_d234_e346_k357_w1.0; " + "; ".join(lines)
        )
    with torch.no_grad():
        for name in used:
            target = supernet.weights[wanted[name]]
            target.copy_(stored[name].to(target.dtype).view_as(target))
    return sorted(stored.keys() - used)


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, by the names that `_wanted` uses."""
    try:
        # Tensors only: a checkpoint from elsewhere must not run code.
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise OfaError(f"there is no file {path}; supernet.init names a Once-for-All checkpoint") from error
    except Exception as error:  # whatever a damaged file makes the reader raise
        raise OfaError(f"{path} cannot be read as a PyTorch checkpoint: {error}") from error
    found = found.get("state_dict", found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise OfaError(f"{path} holds no state dict: names and their tensors, at its top or under 'state_dict'")
    return {_plain(name): value for name, value in found.items()}


def _plain(name: str) -> str:
    """One name for what checkpoints of different releases call by several."""
    name = re.sub(r"^(blocks\.\d+)\.conv\.", r"\1.mobile_inverted_conv.", name.removeprefix("module."))
    return re.sub(r"\.(conv|bn)\.\1\.", r".\1.", name).replace(".linear.linear.", ".linear.")


def _wanted(supernet: Supernet) -> dict[str, str]:
    """Name in the checkpoint (see `_plain`) -> name of the shared tensor."""
    largest = supernet.space.largest()
    with torch.device("meta"):
        names = [name for name, _ in EarlyExitNet(largest).named_parameters()]
    last, numbers, found = len(largest.stages) - 1, _block_numbers(supernet), {}
    for name in names:
        key = shared_name(largest, name)
        if match := re.fullmatch(r"stages\.(\d+)\.blocks\.(\d+)\.(.+)", name):
            stage, block, rest = int(match[1]), int(match[2]), match[3]
            found[_backbone_name(numbers[stage, block], rest)] = key
        elif name.startswith(f"stages.{last}.exit."):
            found[_head_name(name.removeprefix(f"stages.{last}.exit."))] = key
    for name, key in list(found.items()):
        if name.endswith("depth_conv.conv.weight"):
            for step in supernet.transforms(key):
                found[f"{name.removesuffix('.weight')}.{step}_matrix"] = supernet.transform_key(key, step)
    return found


def _block_numbers(supernet: Supernet) -> dict[tuple[int, int], int]:
    """(stage, block) here -> number of the block there; -1 is the first convolution."""
    largest = supernet.space.largest()
    places = [
        (i, j)
        for i, stage in enumerate(largest.stages)
        for j, b in enumerate(stage.blocks)
        if not isinstance(b, Resize)
    ]
    return {place: number - 1 for number, place in enumerate(places)}


def _backbone_name(block: int, rest: str) -> str:
    if block < 0:
        return "first_conv." + rest.removeprefix("conv.").replace("norm.", "bn.")
    unit, what = rest.split(".", 1)
    if unit == "squeeze":
        what = what.replace(".conv.", ".")
        return f"blocks.{block}.mobile_inverted_conv.depth_conv.se.fc.{what}"
    return f"blocks.{block}.mobile_inverted_conv.{_UNITS[unit]}.{what.replace('norm.', 'bn.')}"


def _head_name(rest: str) -> str:
    if rest.startswith("blocks.0."):
        return "final_expand_layer." + rest.removeprefix("blocks.0.conv.").replace("norm.", "bn.")
    if rest.startswith("hidden.0."):
        return "feature_mix_layer.conv.weight"
    return rest.replace("classifier.", "classifier.linear.")
