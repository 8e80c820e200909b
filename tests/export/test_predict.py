"""Prediction from the file alone."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from export_nets import CLASSES, random_images, spread_policy, tiny, trained_like
from onnx import TensorProto, helper
from PIL import Image

from offramp.data import DataError
from offramp.export import Model, ModelError, Prediction, export_onnx
from offramp.export._session import as_input

IMAGES = random_images(tiny(3))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    net, path = trained_like(tiny(3)), tmp_path_factory.mktemp("model") / "model.onnx"
    export_onnx(net, spread_policy(net, IMAGES, "entropy"), path, classes=CLASSES, images=IMAGES)
    return path


def test_prediction(path):
    net, model = trained_like(tiny(3)), Model(path)
    logits, taken = net.infer(IMAGES.float(), model.policy)
    for image, row, exit in zip(IMAGES.numpy(), logits.softmax(-1), taken):
        found = model.predict(image)
        index = int(row.argmax())
        assert found == Prediction(CLASSES[index], index, int(exit), 3, pytest.approx(float(row[index]), abs=1e-5))


def test_what_a_model_says_of_itself(path):
    model = Model(path)
    assert (model.input, model.classes, model.exits, model.policy.measure) == ((1, 8, 8), CLASSES, 3, "entropy")


@pytest.mark.parametrize(
    "thresholds, exit", [((-np.inf, 0), 0), ((np.inf, -9.0), 1), ([np.inf, np.inf], 2), ((1e60, 1), 2)]
)
def test_thresholds_given(path, thresholds, exit):
    assert Model(path).predict(IMAGES[0].numpy(), thresholds).exit == exit


def test_image_file(path, tmp_path):
    Image.fromarray(IMAGES[0, 0].numpy()).save(tmp_path / "a.png")
    model = Model(path)
    assert (
        model.predict(tmp_path / "a.png") == model.predict(str(tmp_path / "a.png")) == model.predict(IMAGES[0].numpy())
    )
    Image.fromarray(IMAGES[0, 0].numpy()).resize((40, 40)).convert("RGB").save(tmp_path / "large.jpg")
    assert model.predict(tmp_path / "large.jpg").exits == 3
    with pytest.raises(DataError, match=r"absent\.png: no such file"):
        model.predict(tmp_path / "absent.png")


def test_one_exit(tmp_path):
    net, images = trained_like(tiny(1)), random_images(tiny(1))
    export_onnx(net, spread_policy(net, images, "margin"), tmp_path / "m.onnx", classes=CLASSES, images=images)
    model = Model(tmp_path / "m.onnx")
    assert model.predict(images[0].numpy())[2:4] == (0, 1)
    assert model.predict(images[0].numpy(), ()) == model.predict(images[0].numpy())
    with pytest.raises(ModelError, match="has 1 exits and needs 0 of them"):
        model.predict(images[0].numpy(), (0.5,))


@pytest.mark.parametrize("thresholds", [(), (0.1,), (0.1, 0.2, 0.3), (0.1, np.nan)])
def test_wrong_thresholds(path, thresholds):
    with pytest.raises(ModelError, match="has 3 exits and needs 2 of them"):
        Model(path).predict(IMAGES[0].numpy(), thresholds)


@pytest.mark.parametrize("image", [np.zeros((1, 8, 8)), np.zeros((8, 8), np.uint8), np.zeros((3, 8, 8), np.uint8)])
def test_wrong_image(path, image):
    with pytest.raises(ModelError, match=r"image is .*; .*model.onnx needs uint8 \(1, 8, 8\): channels, height, width"):
        Model(path).predict(image)


def test_wrong_files(tmp_path):
    for name in ("text.onnx", "recipe.toml"):
        (tmp_path / name).write_text("not a model")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out])
    foreign = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(foreign, tmp_path / "foreign.onnx")
    helper.set_model_props(foreign, {f"offramp.{k}": "{" for k in ("measure", "thresholds", "classes", "input")})
    onnx.save(foreign, tmp_path / "garbled.onnx")
    expected = {
        "absent.onnx": "absent.onnx: no such file. Give the model.onnx of a run",
        ".": "no such file",
        "text.onnx": "text.onnx: ONNX Runtime cannot open it",
        "recipe.toml": r"recipe.toml: not an ONNX file that can be read\. Give the model.onnx of a run, or",
        "foreign.onnx": "foreign.onnx: an ONNX file, but not one that Offramp wrote",
        "garbled.onnx": "garbled.onnx: an ONNX file, but not one that Offramp wrote",
    }
    for name, message in expected.items():
        model = Model(tmp_path / name)  # nothing is read yet
        with pytest.raises(ModelError, match=message):
            model.predict(IMAGES[0].numpy())


def test_needs_no_torch(path, tmp_path):
    Image.fromarray(IMAGES[0, 0].numpy()).save(tmp_path / "a.png")
    code = """
import sys
import offramp.export.predict
from offramp.export import Model
model, image = sys.argv[1:]
print(Model(model).predict(image).exits, [m for m in ("torch", "onnx", "optuna") if m in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, path, tmp_path / "a.png"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "3 []"


def test_thresholds_are_rounded_up():
    rng = np.random.default_rng(0)
    exact = np.concatenate([rng.uniform(-3, 3, 1000), [np.inf, -np.inf, 0.5, 1e60, -1e60, 0.0]])
    rounded = as_input(exact)
    assert rounded.dtype == np.float32
    assert (rounded >= exact).all()
    rounded = rounded[exact > -1e38]
    exact = exact[exact > -1e38]
    below = np.nextafter(rounded, np.float32(-np.inf)).astype(np.float64)
    assert ((below < exact) | np.isinf(exact)).all()
