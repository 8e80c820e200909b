"""What is in the file, and what is not."""

import getpass
import json
import os
import re
import socket
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_nets import CLASSES, every_kind, gated, random_images, spread_policy, tiny, trained_like

import offramp
from offramp.export import export_onnx
from offramp.export._convert import frozen
from offramp.export._export import build_file
from offramp.export._metadata import About
from offramp.policy import Policy


@pytest.fixture(scope="module", params=[False, True], ids=["torchscript", "dynamo"])
def file(request):
    net, images = trained_like(every_kind()), random_images(every_kind())
    about = About(spread_policy(net, images, "margin"), CLASSES, every_kind().input)
    return build_file(frozen(net), about, {"run": "nachos"}, request.param)


def _strings(message):
    """Every string in a protobuf message, at any depth."""
    for field, value in message.ListFields():
        repeated = not isinstance(value, (str, bytes, int, float)) and hasattr(value, "__len__")
        for item in value if repeated else [value]:
            if isinstance(item, str):
                yield item
            elif hasattr(item, "ListFields"):
                yield from _strings(item)
            elif isinstance(item, bytes) and field.name != "raw_data":
                yield item.decode()


def test_no_paths_and_no_traces(file):
    root = Path(offramp.__file__).parents[2]
    secrets = [
        str(root),
        str(Path.home()),
        socket.gethostname(),
        os.sep + getpass.getuser(),
        "site-packages",
        ".py",
        "Traceback",
    ]
    for secret in secrets:
        if len(secret) > 2:
            assert secret.encode() not in file, secret
    strings = list(_strings(onnx.load_from_string(file)))
    assert "exit0.0.Sub" in strings  # the walk does see names
    assert not [s for s in strings if "/" in s or "::" in s]


def test_annotations_are_gone(file):
    def walk(graph):
        assert not graph.metadata_props
        assert not graph.value_info
        for node in graph.node:
            assert not node.metadata_props
            assert not node.doc_string
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    walk(attribute.g)

    model = onnx.load_from_string(file)
    walk(model.graph)
    assert not model.functions


def test_format(file):
    model = onnx.load_from_string(file)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    assert (model.producer_name, model.producer_version) == ("offramp", _version(model))

    def shape(value):
        return value.name, value.type.tensor_type.elem_type, [d.dim_value for d in value.type.tensor_type.shape.dim]

    real, whole = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    assert [shape(v) for v in model.graph.input] == [("image", real, [1, 3, 21, 17]), ("thresholds", real, [3])]
    assert [shape(v) for v in model.graph.output] == [("logits", real, [1, 10]), ("exit", whole, [])]


def _version(model):
    return {p.key: p.value for p in model.metadata_props}["offramp.version"]


def test_batch_norm_is_folded_and_nothing_is_passed_on_in_vain(file):
    ops, names = [], []

    def walk(graph):
        for node in graph.node:
            ops.append(node.op_type)
            names.append(node.name)
            names.extend(t.name for a in node.attribute if a.HasField("g") for t in a.g.initializer)
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    walk(attribute.g)

    walk(onnx.load_from_string(file).graph)
    assert "BatchNormalization" not in ops
    assert ops.count("Identity") == 4  # one for each exit, which a branch of an If needs
    assert ops.count("If") == 3
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("level", ["BASIC", "EXTENDED"])
@pytest.mark.parametrize("make", [every_kind, gated])
def test_what_onnx_runtime_optimises_and_saves_can_be_loaded_again(make, level, tmp_path):
    net, images = trained_like(make()), random_images(make())
    about = About(spread_policy(net, images, "margin"), CLASSES, make().input)
    options, saved = onnxruntime.SessionOptions(), str(tmp_path / "optimised.onnx")
    options.optimized_model_filepath, options.log_severity_level = saved, 3
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    first = onnxruntime.InferenceSession(
        build_file(frozen(net), about, {}), options, providers=["CPUExecutionProvider"]
    )
    again = onnxruntime.InferenceSession(saved, providers=["CPUExecutionProvider"])
    for image in images[:8].float().numpy():
        inputs = {"image": image[None], "thresholds": np.array(about.policy.thresholds, np.float32)}
        logits, taken = first.run(None, inputs)
        logits_again, taken_again = again.run(None, inputs)
        assert taken_again == taken
        np.testing.assert_allclose(logits_again, logits, rtol=1e-4, atol=1e-5)


def test_metadata(tmp_path):
    names = [*CLASSES[:9], "naïve 船"]
    policy = Policy("entropy", (float("inf"), -0.123456789))
    export_onnx(
        trained_like(tiny(3)),
        policy,
        tmp_path / "deep" / "model.onnx",
        classes=names,
        images=random_images(tiny(3)),
        metadata={"seed": "3"},
    )
    stored = {p.key: p.value for p in onnx.load(tmp_path / "deep" / "model.onnx").metadata_props}
    assert stored.pop("offramp.version")
    assert stored.pop("seed") == "3"
    assert About.from_metadata(stored) == About(policy, tuple(names), (1, 8, 8))
    assert json.loads(stored["offramp.classes"]) == names
    assert [float(t) for t in json.loads(stored["offramp.thresholds"])] == [np.inf, -0.123456789]
    assert len(stored) == 4


def test_one_exit_has_no_thresholds_input(tmp_path):
    export_onnx(
        trained_like(tiny(1)), Policy("margin", ()), tmp_path / "m.onnx", classes=CLASSES, images=random_images(tiny(1))
    )
    assert [v.name for v in onnx.load(tmp_path / "m.onnx").graph.input] == ["image"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    export_onnx(
        trained_like(tiny(1)), Policy("margin", ()), tmp_path / "m.onnx", classes=CLASSES, images=random_images(tiny(1))
    )
    assert (tmp_path / "m.onnx").stat().st_mode == (tmp_path / "plain").stat().st_mode


WRONG = [
    ({"policy": Policy("entropy", ())}, "policy has 0 thresholds; a network of 2 exits needs 1"),
    ({"classes": CLASSES[:9]}, "the network needs 10 names"),
    ({"classes": "abcdefghij"}, "the network needs 10 names"),
    ({"classes": range(10)}, "the network needs 10 names"),
    ({"images": torch.zeros(2, 1, 8, 8)}, "images is float32 (2, 1, 8, 8); the check needs uint8 (N, 1, 8, 8)"),
    ({"images": torch.zeros(2, 3, 8, 8, dtype=torch.uint8)}, "uint8 (2, 3, 8, 8)"),
    ({"images": torch.zeros(1, 8, 8, dtype=torch.uint8)}, "uint8 (1, 8, 8)"),
    ({"images": torch.zeros(0, 1, 8, 8, dtype=torch.uint8)}, "N >= 1"),
    ({"metadata": {"offramp.measure": "mine"}}, "'offramp.measure' begins with 'offramp.'"),
    ({"metadata": {"seed": 3}}, "metadata must be strings, not 'seed': 3"),
]


@pytest.mark.parametrize("wrong, message", WRONG)
def test_arguments_that_do_not_fit(tmp_path, wrong, message):
    good = {"policy": Policy("entropy", (-1.0,)), "classes": CLASSES, "images": random_images(tiny(), 2)}
    arguments = good | wrong
    with pytest.raises(ValueError, match=re.escape(message)):
        export_onnx(trained_like(tiny()), arguments.pop("policy"), tmp_path / "m.onnx", **arguments)
    assert not list(tmp_path.iterdir())
