"""What comes after the exit taken does not run."""

import json

import numpy as np
import onnx
import pytest
from export_nets import CLASSES, every_kind, random_images, sampled, spread_policy, trained_like
from onnx import numpy_helper

from offramp.export._convert import frozen
from offramp.export._export import build_file
from offramp.export._metadata import About
from offramp.export._session import forced, open_session, run
from offramp.layers import layers
from offramp.policy import Policy


def _file(architecture):
    net, images = trained_like(architecture), random_images(architecture, 20)
    policy = spread_policy(net, images, "max_probability")
    return build_file(frozen(net), About(policy, CLASSES, architecture.input), {}), policy, images


def _convolutions(architecture, exit):
    """How many convolutions a sample passes that leaves at `exit`, by the one list of layers."""
    last = architecture.exits[exit]
    ran = [layer for stage in layers(architecture)[: last + 1] for part in stage for layer in part]
    return sum(layer.op == "conv" for layer in ran)


@pytest.mark.parametrize("architecture", [every_kind(), sampled(5)])
def test_the_profile_shows_only_what_an_exit_needs(tmp_path, architecture):
    file, _, images = _file(architecture)
    exits = len(architecture.exits)
    for exit in range(exits):
        session = open_session(file, profile=str(tmp_path / f"exit{exit}"))
        assert run(session, images[0].numpy(), forced(exit, exits))[1] == exit
        with open(session.end_profiling()) as profile:
            events = json.load(profile)
        kernels = [e for e in events if e["cat"] == "Node" and e["name"].endswith("_kernel_time")]
        ran = [e["args"]["op_name"] for e in kernels]
        assert sum(op.endswith("Conv") for op in ran) == _convolutions(architecture, exit)


def test_weights_of_a_later_part_do_not_matter():
    file, policy, images = _file(every_kind())
    whole = [run(open_session(file), image, policy.thresholds) for image in images.numpy()]
    model = onnx.load_from_string(file)
    deepest = _deepest(model.graph)
    for tensor in deepest.initializer:
        nan = np.full_like(numpy_helper.to_array(tensor), np.nan)
        tensor.CopyFrom(numpy_helper.from_array(nan, tensor.name))
    poisoned = open_session(model.SerializeToString())
    for image, (logits, taken) in zip(images.numpy(), whole):
        found, exit = run(poisoned, image, policy.thresholds)
        assert exit == taken
        assert np.array_equal(found, logits) if exit < policy.exits - 1 else np.isnan(found).all()


def _deepest(graph):
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "else_branch":
                return _deepest(attribute.g)
    return graph


def test_weights_lie_in_the_branch_that_reads_them():
    # ONNX Runtime treats an outer graph's tensors as variable, and runs convolutions with them at half the speed.
    def walk(graph):
        own = {tensor.name for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type in ("Conv", "Gemm"):
                assert set(node.input[1:]) <= own
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    walk(attribute.g)

    net = trained_like(every_kind())
    for module in net.modules():  # equal biases, which torch's exporter merges
        if hasattr(module, "classifier"):
            module.classifier.bias.data.zero_()
    about = About(Policy("entropy", (0.0,) * 3), CLASSES, every_kind().input)
    walk(onnx.load_from_string(build_file(frozen(net), about, {})).graph)
