"""The measures in the graph are those of the policy."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from offramp.export import ExportError
from offramp.export._measures import score_nodes
from offramp.policy import MEASURES, confidence


def _session(measure, classes):
    nodes, score = score_nodes(measure, ["earlier", "logits"], "exit1")
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, classes])
    graph = helper.make_graph(nodes, "score", [logits], [helper.make_tensor_value_info(score, TensorProto.FLOAT, [])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_equal_to_the_policys(measure, classes):
    rng = np.random.default_rng(classes)
    logits = np.concatenate([rng.normal(0, scale, (20, classes)) for scale in (0.01, 1, 5, 50, 300)])
    logits = np.concatenate([logits, np.zeros((1, classes)), np.full((1, classes), -1e4)]).astype(np.float32)
    logits[0, :2] = 9.0  # a tie for the first place
    session = _session(measure, classes)
    found = [session.run(None, {"logits": row[None]})[0] for row in logits]
    assert all(score.shape == () for score in found)
    np.testing.assert_allclose(
        found, confidence(measure, logits[:, None])[:, 0], atol=2e-5 if classes == 1000 else 2e-6
    )


def test_unknown_measure():
    with pytest.raises(ExportError, match="measure 'patience' cannot be exported; those that can are max_probability"):
        score_nodes("patience", ["logits"], "exit0")
