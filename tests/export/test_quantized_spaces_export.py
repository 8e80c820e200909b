"""Networks of the papers' spaces at few bits, exported: gates, resizing, squeeze-excite in one file."""

import numpy as np
import pytest
from export_nets import random_images, spread_policy, trained_like

from offramp.export import Model, export_onnx
from offramp.nn.quantize import quantize
from offramp.spaces import space

SMALL = {"depths": (1,), "kernels": (3,), "expansions": (2,), "width": 0.2}
OPTIONS = {
    "nachos": SMALL | {"branch_widths": (4, 6)},
    "edanas": SMALL | {"thresholds": (0.1,)},
    "aebnas": SMALL | {"thresholds": (0.1,), "resolutions": (24,), "branch_modules": (1,)},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("pair", [(8, 8), (4, 8), (8, 4)])
def test_a_network_of_a_paper_s_space_is_exported_at_few_bits(tmp_path, name, pair):
    architecture = space(name, (3, 32, 32), 5, **OPTIONS[name], bits=[pair]).largest()
    images = random_images(architecture, 40, seed=5)
    net = quantize(trained_like(architecture), random_images(architecture, 100))
    policy = spread_policy(net, images, "gate" if architecture.gated else "margin")
    check = export_onnx(net, policy, tmp_path / "model.onnx", classes=list("abcde"), images=images)
    assert check.top1_agreement >= 0.95  # of 40 images, two
    assert check.max_abs_difference <= check.tolerance
    _, taken = net.infer(images.float(), policy)
    model = Model(tmp_path / "model.onnx")
    assert np.mean([model.run(image)[1] == t for image, t in zip(images.numpy(), taken.tolist())]) >= 0.9
