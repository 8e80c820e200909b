"""Files of networks whose exits have gates."""

import numpy as np
import onnxruntime
import pytest
import torch
from export_nets import CLASSES, gated, random_images, spread_policy, tiny, trained_like
from onnx import TensorProto, helper

from offramp.export import ExportError, Model, export_onnx
from offramp.export._measures import score_nodes
from offramp.policy import CERTAIN, GATE_MEASURES, MEASURES, Policy, confidence


@pytest.mark.parametrize("measure", [*GATE_MEASURES, *MEASURES])
def test_runtime_and_eager_agree(tmp_path, measure):
    net, images = trained_like(gated()), random_images(gated())
    assert agreed(net, spread_policy(net, images, measure), images, tmp_path) == {0, 1, 2, 3}


@pytest.mark.parametrize("measure", GATE_MEASURES)
def test_an_exit_without_a_gate_among_others_is_certain(tmp_path, measure):
    """Where it lets samples pass all the same, eq. 5 scores the exits behind it nearly 0, the sum 1."""
    net, images = trained_like(gated(second=False)), random_images(gated())
    with torch.inference_mode():
        c = np.sort(net(images.float())[:, 0, -1].double().sigmoid().numpy())
    first = (c[20] + c[21]) / 2
    assert agreed(net, Policy(measure, (first, np.inf, 0.5)), images, tmp_path) == (
        {0, 3} if measure == "gate" else {0, 2}
    )
    assert agreed(net, Policy(measure, (first, 0.01, 0.5)), images, tmp_path) == {0, 1}


def agreed(net, policy, images, folder) -> set[int]:
    """Check file against eager inference; the exits that were taken."""
    check = export_onnx(net, policy, folder / "model.onnx", classes=CLASSES, images=images)
    assert (check.n, check.exit_agreement, check.top1_agreement, check.flips) == (40, 1.0, 1.0, 0)
    logits, taken = net.infer(images.float(), policy)
    model = Model(folder / "model.onnx")
    results = [model.run(image) for image in images.numpy()]
    assert [exit for _, exit in results] == taken.tolist()
    np.testing.assert_allclose(np.stack([found for found, _ in results]), logits, atol=2e-4)
    assert model.predict(images[0].numpy()).class_name in CLASSES
    return set(taken.tolist())


@pytest.mark.parametrize("measure", GATE_MEASURES)
@pytest.mark.parametrize("names", [("a",), ("a", "b", "c"), ("a", None, "c"), ("a", "b", None)])
def test_scores_equal_the_policys(measure, names):
    nodes, score = score_nodes(measure, ["x"] * len(names), "exit", names)
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in names if name]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info(score, TensorProto.FLOAT, [])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for scale in (0.1, 1, 5, 40):
        gates = rng.normal(0, scale, (20, len(names))).astype(np.float32)
        gates[:, [name is None for name in names]] = CERTAIN
        feeds = [{n: g[None, None] for n, g in zip(names, row) if n} for row in gates]
        found = np.array([session.run(None, feed)[0] for feed in feeds])
        assert found.shape == (20,)
        expected = confidence(measure, np.zeros((20, len(names), 2)), gates)[:, -1]
        np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_network_without_gates_has_no_such_scores(tmp_path):
    with pytest.raises(ExportError, match="'gate' reads the exits' gates, but these exits have none"):
        score_nodes("gate", ["x"], "exit0", [None])
    net, images = trained_like(tiny()), random_images(tiny())
    with pytest.raises(ExportError, match="these exits have none"):
        export_onnx(net, Policy("gate", (0.5,)), tmp_path / "m.onnx", classes=CLASSES, images=images)
    assert not (tmp_path / "m.onnx").exists()
