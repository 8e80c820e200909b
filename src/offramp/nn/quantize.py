"""Networks that compute at few bits: the batch norm folded, weights and activations rounded to integers times a step.

Gradients pass the rounding as if it were not there. The steps are learned (`offramp.nn.rounding`); a slice of a
supernet has none of its own: there they are found anew for every batch. `docs/quantization.md` says what is rounded
where.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from offramp.architecture import Architecture, Precision
from offramp.nn._calibrate import calibrate, output_means
from offramp.nn._fold import fold
from offramp.nn._install import FLOAT, install
from offramp.nn.network import EarlyExitNet
from offramp.nn.rounding import RoundedLayer, Rounding

CALIBRATION_IMAGES = 256


def is_quantized(precision: Precision) -> bool:
    """Whether anything is computed at fewer than 32 bits."""
    return any(bits != FLOAT for bits in precision.model_dump().values())


def quantize(net: EarlyExitNet, images: Tensor) -> EarlyExitNet:
    """`net` at the precision of its architecture, in eval mode: ready for use, for fine-tuning and for export.

    A new network of the same interface; the convolutions carry the folded batch norm, so its statistics must be set
    (`training.reestimate`). Steps are those of least squared error on `images`, and biases make up for the shift of
    every channel's mean. A network of 32 bits throughout is given back as it is.

    Args:
        net: trained in float, or a slice of a supernet.
        images: uint8 (N, C, H, W), N >= 1; at most 256 are used, evenly spaced.

    Raises:
        ValueError: no images, bits that cannot be computed (2 to 8 and 32 can), or `net` is quantized already.
    """
    if not is_quantized(net.architecture.precision):
        return net
    if rounds(net):
        raise ValueError("the network is quantized already")
    if not len(images):
        raise ValueError("images has none; calibration needs at least one")
    chosen = images[torch.linspace(0, len(images) - 1, min(len(images), CALIBRATION_IMAGES)).round().long()]
    batch = chosen.to(net.mean.device).float().contiguous(memory_format=torch.channels_last)
    net = copy.deepcopy(net).eval()
    with torch.no_grad():
        fold(net)
        means = output_means(net, batch)
        install(net, quick=False)
        calibrate(net, batch, means)
    return net


def install_quick(net: EarlyExitNet) -> None:
    """Make `net`, in float and in place, round at the precision of its architecture with steps found in every batch.

    It keeps its batch norms and gets no parameters: what it trains are the weights in float, which a supernet shares
    among all bit-widths. Where the norm's scale is positive, a kernel rounds to the same integers as after folding.

    Raises:
        ValueError: bits that cannot be computed.
    """
    if is_quantized(net.architecture.precision):
        install(net, quick=True)


def skeleton(architecture: Architecture) -> EarlyExitNet:
    """The network that `quantize` gives for `architecture`, for `load_state_dict`: its values are unset.

    Raises:
        ValueError: bits that cannot be computed.
    """
    net = EarlyExitNet(architecture)
    if is_quantized(architecture.precision):
        with torch.no_grad():
            fold(net)
            install(net, quick=False)
    return net


def rounds(net: nn.Module) -> bool:
    """Whether `net` computes at few bits: what `quantize` gave."""
    return any(isinstance(module, (Rounding, RoundedLayer)) for module in net.modules())
