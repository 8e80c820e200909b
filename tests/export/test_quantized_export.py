"""Networks of few bits: the file computes the same numbers as the eager network, from integers."""

import numpy as np
import onnx
import pytest
import torch
from export_nets import CLASSES, every_kind, random_images, sampled, spread_policy, tiny, trained_like
from onnx import numpy_helper

from offramp.architecture import Architecture, Bottleneck, Branch, Conv, Dense, Pool, Precision, Separable, Stage
from offramp.data import task
from offramp.export import Model, export_onnx
from offramp.export._convert import frozen
from offramp.export._export import build_file
from offramp.export._integers import with_qdq
from offramp.export._metadata import About
from offramp.export._session import forced, open_session, run
from offramp.nn import EarlyExitNet
from offramp.nn.quantize import quantize, rounds
from offramp.policy import Policy
from offramp.training import TrainSettings, train


def bits(backbone, branch=None):
    branch = branch or backbone
    return Precision(
        backbone_weights=backbone, backbone_activations=backbone, branch_weights=branch, branch_activations=branch
    )


def quantized(architecture, precision) -> EarlyExitNet:
    net = trained_like(architecture)
    net.architecture = architecture.model_copy(update={"precision": precision})
    return quantize(net, random_images(architecture, 100))


@pytest.fixture(scope="module")
def digits():
    return task("digits", seed=0).without_test()


@pytest.fixture(scope="module")
def trained(digits) -> EarlyExitNet:
    """In float, on real images."""
    stages = (
        Stage(blocks=(Conv(out=8),), exit=Branch(blocks=(Separable(out=8, stride=2),))),
        Stage(
            blocks=(Bottleneck(out=12, hidden=16, stride=2), Bottleneck(out=12, hidden=16, squeeze=4, act="hardswish")),
            exit=Branch(pool="max", grid=2, hidden=(Dense(out=16),)),
        ),
        Stage(blocks=(Pool(how="avg"), Conv(out=16, kernel=1)), exit=Branch(grid=2)),
    )
    architecture = Architecture(input=(1, 8, 8), classes=10, stages=stages)
    return train(architecture, digits, TrainSettings(backbone_epochs=0, joint_epochs=4, batch=32))


def logits_of_all_exits(file, images):
    session, exits = open_session(file), len(Policy("entropy", (0.0,) * 2).thresholds) + 1
    return np.stack([[run(session, i, forced(e, exits))[0] for e in range(exits)] for i in images.numpy()])


@pytest.mark.parametrize("precision", [bits(8), bits(4), bits(8, 4), bits(4, 8), bits(32, 4), bits(4, 32), bits(2)])
def test_classes_agree_on_real_images(trained, digits, precision):
    trained.architecture = trained.architecture.model_copy(update={"precision": precision})
    net = frozen(quantize(trained, digits.train.images))
    images = digits.select.images
    about = About(Policy("entropy", (-0.5, -0.5)), CLASSES, (1, 8, 8))
    found = logits_of_all_exits(build_file(net, about, {}), images)
    with torch.no_grad():
        expected = net(images.float()).numpy()
    chosen = np.take_along_axis(expected, found.argmax(2)[..., None], 2)[..., 0]
    # At 2 bits two classes may have the same logit: either is right.
    assert (chosen >= expected.max(2) - 1e-6 * np.abs(expected).max()).mean() >= 0.995
    # A value on the verge of two steps may fall to either: of few images, by little.
    gaps = np.abs(found - expected).max((1, 2)) / np.abs(expected).max()
    assert (gaps > 1e-5).mean() < 0.05
    assert gaps.max() < 0.1


# A dozen blocks of random weights make of one value on the verge of two steps other logits altogether.
SHALLOW = sampled(5, depths=((1,),) * 5)


@pytest.mark.parametrize(
    "architecture, precision", [(every_kind(), bits(8)), (every_kind(), bits(4)), (SHALLOW, bits(8, 4))]
)
def test_every_kind_of_block_is_exported(tmp_path, architecture, precision):
    net, images = quantized(architecture, precision), random_images(architecture, 40, seed=5)
    policy = spread_policy(net, images, "margin")
    check = export_onnx(net, policy, tmp_path / "model.onnx", classes=CLASSES, images=images)
    assert check.top1_agreement >= 0.975  # of 40 images, one
    assert check.exit_agreement >= 0.975
    _, taken = net.infer(images.float(), policy)
    model = Model(tmp_path / "model.onnx")
    assert np.mean([model.run(image)[1] == t for image, t in zip(images.numpy(), taken.tolist())]) >= 0.975
    assert rounds(net)  # left as it was


def test_torchs_newer_exporter_does_the_same():
    net, images = frozen(quantized(tiny(), bits(4))), random_images(tiny(), 10)
    about = About(spread_policy(net, images, "entropy"), CLASSES, tiny().input)
    old, new = (open_session(build_file(net, about, {}, dynamo)) for dynamo in (False, True))
    last = forced(len(net.architecture.exits) - 1, len(net.architecture.exits))
    for image in images.numpy():
        np.testing.assert_allclose(run(old, image, last)[0], run(new, image, last)[0], atol=1e-3)


def graphs(graph):
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)


def weights_of(file):
    """int8 weights of every layer, over all the nested graphs."""
    for graph in graphs(onnx.load_from_string(file).graph):
        stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        makers = {node.output[0]: node for node in graph.node}
        for node in graph.node:
            if node.op_type in ("Conv", "Gemm"):
                yield [stored[makers[name].input[0]] for name in node.input[1:]]


@pytest.mark.parametrize("count, low, high", [(8, -128, 127), (4, -8, 7), (3, -4, 3)])
def test_weights_are_stored_as_integers_of_few_levels(count, low, high):
    net = frozen(quantized(every_kind(), bits(count)))
    about = About(Policy("margin", (0.5,) * (len(net.architecture.exits) - 1)), CLASSES, every_kind().input)
    found = list(weights_of(build_file(net, about, {})))
    assert len(found) > 20
    assert {weight.dtype for weight, _ in found} == {np.dtype(np.int8)}
    assert {bias.dtype for _, bias in found} == {np.dtype(np.int32)}
    values = set(np.concatenate([weight.ravel() for weight, _ in found]).tolist())
    assert min(values) >= low
    assert max(values) <= high
    assert len(values) > (high - low) * 0.8


def test_integers_run_in_the_branches_too(tmp_path):
    """ONNX Runtime's own optimiser turns the convolutions behind an exit into integer ones."""
    import onnxruntime

    net = frozen(quantized(sampled(3, (1, 8, 8)), bits(8)))
    about = About(Policy("margin", (0.5, 0.5)), CLASSES, (1, 8, 8))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimised.onnx"), 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(build_file(net, about, {}), options, providers=["CPUExecutionProvider"])
    for graph in graphs(onnx.load(str(tmp_path / "optimised.onnx")).graph):
        operators = [node.op_type for node in graph.node]
        if len(operators) > 3:  # not one that only leaves
            assert "QLinearConv" in operators


def test_a_float_network_is_not_touched():
    net = frozen(trained_like(every_kind()))
    assert with_qdq(net) is net
