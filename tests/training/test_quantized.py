import torch
from torch import Tensor

from offramp.architecture import Precision
from offramp.nn import build
from offramp.progress import Silent
from offramp.training import TrainSettings
from offramp.training._quantized import quantized


def test_few_bits_are_trained_by_sgd_whatever_trained_the_float_network(digits, two_exits):
    eight = Precision(backbone_weights=8, backbone_activations=8, branch_weights=8, branch_activations=8)
    architecture, images = two_exits.model_copy(update={"precision": eight}), digits.train.images[:64]

    def trained(optimiser: str, epochs: int) -> dict[str, Tensor]:
        settings = TrainSettings(optimiser=optimiser, quantized_epochs=epochs)
        net = build(architecture, 0)
        few = quantized(net, images, digits, settings, seed=0, identity="", checkpoint=None, track=Silent())
        return few.state_dict()

    calibrated, by_sgd, by_muon = trained("sgd", 0), trained("sgd", 1), trained("muon", 1)
    assert all(torch.equal(by_muon[name], value) for name, value in by_sgd.items())
    assert not all(torch.equal(calibrated[name], value) for name, value in by_sgd.items())
