"""The file does what the network does."""

import numpy as np
import pytest
import torch
from export_nets import CLASSES, every_kind, random_images, sampled, spread_policy, tiny, trained_like

from offramp.export import Model, export_onnx
from offramp.export._convert import frozen
from offramp.export._export import build_file
from offramp.export._metadata import About
from offramp.export._session import open_session, run
from offramp.policy import MEASURES, Policy
from offramp.spaces import space

CASES = [
    (every_kind(), "entropy"),
    (sampled(5), "max_probability"),
    (sampled(4, first=100), "margin"),
    (sampled(3, (1, 8, 8)), "entropy"),
    (sampled(5, (1, 8, 8), first=50), "margin"),
    (sampled(2, (3, 28, 20)), "max_probability"),
    (sampled(1), "entropy"),
    (space("offramp", (1, 9, 9), 10).smallest(), "margin"),
    (space("offramp", (3, 16, 16), 10).largest(), "max_probability"),
]


@pytest.mark.parametrize("architecture, measure", CASES)
def test_runtime_and_eager_agree(tmp_path, architecture, measure):
    net, images = trained_like(architecture), random_images(architecture)
    policy = spread_policy(net, images, measure)
    check = export_onnx(net, policy, tmp_path / "model.onnx", classes=CLASSES, images=images)
    assert (check.n, check.exit_agreement, check.top1_agreement, check.flips) == (40, 1.0, 1.0, 0)
    assert check.max_abs_difference <= check.tolerance

    logits, taken = net.infer(images.float(), policy)
    model = Model(tmp_path / "model.onnx")
    results = [model.run(image) for image in images.numpy()]
    assert [exit for _, exit in results] == taken.tolist()
    np.testing.assert_allclose(np.stack([found for found, _ in results]), logits, atol=2e-4)
    assert len(set(taken.tolist())) == len(architecture.exits)  # the images did try every exit


@pytest.mark.parametrize("measure", MEASURES)
def test_other_thresholds_than_the_defaults(tmp_path, measure):
    net, images = trained_like(every_kind(), 3), random_images(every_kind(), 30)
    policies = [spread_policy(net, images[:k], measure) for k in (30, 10, 5)]
    export_onnx(net, policies[0], tmp_path / "model.onnx", classes=CLASSES, images=images)
    model = Model(tmp_path / "model.onnx")
    for policy in policies:
        _, taken = net.infer(images.float(), policy)
        assert [model.run(image, policy.thresholds)[1] for image in images.numpy()] == taken.tolist()


def test_torchs_newer_exporter_gives_the_same_file_in_effect():
    net, images = trained_like(every_kind()), random_images(every_kind(), 10)
    policy = spread_policy(net, images, "entropy")
    about = About(policy, CLASSES, every_kind().input)
    old, new = (open_session(build_file(frozen(net), about, {}, dynamo)) for dynamo in (False, True))
    for image in images.numpy():
        (a, exit_a), (b, exit_b) = (run(session, image, policy.thresholds) for session in (old, new))
        assert exit_a == exit_b
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_net_is_left_as_it_was(tmp_path):
    net = trained_like(tiny()).double().to(memory_format=torch.channels_last).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    images = random_images(tiny())
    policy = spread_policy(frozen(net), images, "entropy")
    export_onnx(net, policy, tmp_path / "model.onnx", classes=CLASSES, images=images)
    assert net.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert all(p.dtype == torch.float64 and p.requires_grad for p in net.parameters())
    assert not net.stages[1].blocks[0].conv.conv.weight.is_contiguous()
    assert frozen(net).stages[1].blocks[0].conv.conv.weight.is_contiguous()


def test_same_network_same_bytes(tmp_path):
    net, images = trained_like(tiny()), random_images(tiny())
    policy = spread_policy(net, images, "entropy")
    for name in "ab":
        export_onnx(net, policy, tmp_path / name, classes=CLASSES, images=images)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_score_equal_to_the_threshold_leaves(tmp_path):
    net, images = trained_like(tiny()), random_images(tiny(), 3)
    net.stages[0].exit.classifier.weight.data.zero_()
    net.stages[0].exit.classifier.bias.data.zero_()  # equal logits: a margin of exactly 0
    export_onnx(net, Policy("margin", (0.0,)), tmp_path / "model.onnx", classes=CLASSES, images=images)
    assert Model(tmp_path / "model.onnx").run(images[0].numpy())[1] == 0
    assert Model(tmp_path / "model.onnx").run(images[0].numpy(), [1e-6])[1] == 1
