"""An AEBNAS run, small: a searched resolution and searched branches, to the file that takes images as they are."""

import numpy as np
import onnx
import pytest
import torch

from offramp.architecture import Resize
from offramp.deliver import load
from offramp.export import Model
from offramp.pipeline import Run
from offramp.recipe import Recipe

RECIPE = """
[data]
name = "digits"
limit = 256
[space]
name = "aebnas"
width = 0.25
depths = [1]
kernels = [3]
expansions = [2, 3]
resolutions = [16, 20]
thresholds = [0.1]
[supernet]
epochs = 1
batch = 64
[policy]
measures = ["margin"]
mean_macs = 4e5
[search]
constraints = ["mean_macs <= 4e5"]
evaluations = 4
initial = 4
baseline = false
[train]
batch = 64
backbone_epochs = 0
joint_epochs = 2
[deliver]
budgets = [{ name = "best", mean_macs = 4e5 }]
[export]
check_images = 20
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = Run.open(Recipe.parse(RECIPE), tmp_path_factory.mktemp("resolution"))
    run.carry_out()
    return run


def test_the_file_takes_the_task_s_images_and_resizes_them_itself(finished):
    folder = finished.folder.chosen("best")
    architecture = load(folder)[0].architecture
    first = architecture.stages[0].blocks[0]
    assert isinstance(first, Resize)
    assert first.size in (16, 20)
    assert architecture.input == finished.task.input == (1, 8, 8)
    graph = onnx.load(folder / "model.onnx").graph
    image = next(tensor for tensor in graph.input if tensor.name == "image")
    assert [dim.dim_value for dim in image.type.tensor_type.shape.dim] == [1, 1, 8, 8]
    assert "Resize" in {node.op_type for node in graph.node}  # before any exit decides


def test_the_runtime_agrees_with_the_network_at_every_exit(finished):
    folder = finished.folder.chosen("best")
    net, _ = load(folder)
    exits = len(net.architecture.exits)
    assert exits > 1
    model, images = Model(folder / "model.onnx"), finished.task.select.images[:12]
    with torch.inference_mode():
        expected = net.eval()(images.float()).numpy()
    for e in range(exits):
        thresholds = [2.0] * e + [-1.0] * (exits - 1 - e)  # margins lie between
        found = [model.run(image, thresholds) for image in images.numpy()]
        assert [taken for _, taken in found] == [e] * len(images)
        np.testing.assert_allclose(np.stack([logits for logits, _ in found]), expected[:, e], atol=2e-4)
