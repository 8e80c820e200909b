"""Stages as TFLite files: the same integers as the eager network, layer by layer, and the same exits and classes."""

import json
import shutil

import numpy as np
import pytest
import torch
from export_nets import CLASSES, every_kind, gated, random_images, sampled, spread_policy, tiny, trained_like
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from typer.testing import CliRunner

from offramp.architecture import (
    Activate,
    Architecture,
    Bottleneck,
    Branch,
    Conv,
    Dense,
    Pool,
    Precision,
    Resize,
    Separable,
    Stage,
)
from offramp.cli import app
from offramp.cost import cost
from offramp.data import task
from offramp.export import ModelError, StagedModel, _tflite, export_tflite
from offramp.export._tflite import stage_graphs
from offramp.layers import layers
from offramp.nn import EarlyExitNet
from offramp.nn.blocks import Bicubic
from offramp.nn.quantize import quantize
from offramp.nn.rounding import Rounding, positive
from offramp.policy import Policy
from offramp.spaces import space
from offramp.tflite import write
from offramp.training import TrainSettings, train

pytest.importorskip("ethosu.vela", reason="ethos-u-vela is not installed (pip install 'offramp[ethos]')")
litert = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")

EIGHT = Precision(backbone_weights=8, backbone_activations=8, branch_weights=8, branch_activations=8)


def quantized(architecture, precision=EIGHT, seed=0):
    net = trained_like(architecture, seed)
    net.architecture = architecture.model_copy(update={"precision": precision})
    return quantize(net, random_images(architecture, 100))


def pooled_and_stepped() -> Architecture:
    """What `every_kind` lacks: pooling by blocks, means of windows far apart, activations alone, no padding."""
    stages = (
        Stage(
            blocks=(Conv(out=6, act=None, pad=False), Activate(act="relu6"), Pool(kernel=3, how="avg")),
            exit=Branch(
                blocks=(Activate(act="hardswish"),), pool="avg", grid=2, hidden=(Dense(out=9, act="hardswish"),)
            ),
        ),
        Stage(
            blocks=(Conv(out=8, kernel=5, stride=3, norm=False), Bottleneck(out=8, hidden=0, squeeze=4)),
            exit=Branch(pool="none", hidden=(Dense(out=7, bias=False), Dense(out=6, act=None))),
        ),
    )
    return Architecture(input=(3, 32, 30), classes=10, stages=stages)


def resized_to_what_it_is() -> Architecture:
    """As networks of `aebnas` are where a resolution or a branch's size happens to be that of the map."""
    branch = Branch(blocks=(Resize(size=8), Conv(out=5)))
    stages = (
        Stage(blocks=(Resize(size=16), Conv(out=6, stride=2)), exit=branch),
        Stage(blocks=(Conv(out=8),), exit=Branch()),
    )
    return Architecture(input=(3, 16, 16), classes=10, stages=stages)


ARCHITECTURES = {
    "every kind": every_kind(),
    "pools": pooled_and_stepped(),
    "gated": gated(),
    "resized": resized_to_what_it_is(),
    "offramp": sampled(5),
    "zniber": space("zniber", (3, 32, 32), 10, width=0.25).sample(2),
}


def eager_layers(stage):
    """Module function and rounding of every layer by the names of `offramp.layers`, as the eager network computes it.

    Each function takes the real values of the layer's inputs, (1, C, H, W), and gives what it rounds to.
    """
    found = {}
    for part, blocks in [("backbone", stage.blocks), ("branch", stage.exit.blocks if stage.exit else [])]:
        for i, block in enumerate(blocks):
            name = f"{part}.blocks.{i}"
            if hasattr(block, "project"):
                for unit in ("expand", "depthwise", "project"):
                    if getattr(block, unit) is not None:
                        found[f"{name}.{unit}"] = getattr(block, unit)
                if block.squeeze is not None:
                    s = block.squeeze
                    found[f"{name}.squeeze.pool"] = lambda x, s=s: s.pooled(x.mean((2, 3), keepdim=True))
                    found[f"{name}.squeeze.reduce"], found[f"{name}.squeeze.expand"] = s.reduce, s.expand
                    found[f"{name}.squeeze.scale"] = lambda x, y, s=s: s.scaled(x * y)
                found[f"{name}.add"] = lambda x, y, block=block: block.added(x + y)
            elif hasattr(block, "how"):
                found[f"{name}.pool"] = block
            elif isinstance(block, Bicubic):
                assert not block.changes
            elif isinstance(block[-1], Rounding):
                found[f"{name}.act"] = block
            else:
                found |= {f"{name}.{unit}": module for unit, module in block.named_children()}
    if stage.exit is not None:
        head = stage.exit

        def pool(x):
            function = torch.nn.functional.avg_pool2d if head.pool == "avg" else torch.nn.functional.max_pool2d
            return head.pooled(function(x, head.window, head.step))

        found["branch.pool"] = pool
        for i, dense in enumerate(head.hidden):
            found[f"branch.hidden.{i}"] = lambda x, dense=dense: dense(x.flatten(1))
        found["branch.classifier"] = lambda x: head.classifier(x.flatten(1))
    return found


class Inspected:
    """A stage's graph under LiteRT's own kernels, all of whose tensors can be read after a run."""

    def __init__(self, graph):
        self.graph = graph
        self.interpreter = litert.Interpreter(
            model_content=write(graph),
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self.interpreter.allocate_tensors()
        self.names = {tensor.name: number for number, tensor in enumerate(graph.tensors)}

    def run(self, x):
        self.interpreter.set_tensor(self.interpreter.get_input_details()[0]["index"], x)
        self.interpreter.invoke()

    def integers(self, number):
        return self.interpreter.get_tensor(number).astype(int)

    def real(self, number):
        """(1, C, H, W), or (1, F)."""
        tensor = self.graph.tensors[number]
        x = torch.tensor((self.integers(number) - tensor.zero) * np.float32(tensor.scales[0]), dtype=torch.float32)
        return x.permute(0, 3, 1, 2) if x.ndim == 4 else x

    def inputs_of(self, layer):
        """Numbers of the computed tensors that a layer reads: back to the first that is another layer's."""
        prefix = f"{layer}."
        made = {o.output: o for o in self.graph.operators}

        def back(number):
            tensor = self.graph.tensors[number]
            if tensor.data is not None:
                return []
            if not tensor.name.startswith(prefix) and tensor.name != layer:
                return [number]
            return [n for source in made[number].inputs for n in back(source)]

        return list(dict.fromkeys(back(self.names[layer])))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_layer_is_within_one_step(name):
    net = quantized(ARCHITECTURES[name])
    runs = [Inspected(graph) for graph in stage_graphs(net, random_images(net.architecture, 100))]
    expected, checked, worst = set(), set(), 0.0
    for number, described in enumerate(layers(net.architecture)):
        for part in ("backbone", "branch"):
            computed = [layer for layer in getattr(described, part) if layer.op != "resize"]
            expected |= {(number, f"{part}.{layer.name}") for layer in computed}
    with torch.no_grad():
        for image in random_images(net.architecture, 4, seed=7):
            x = (net.enter(image[None].float()) / positive(net.entry.step)).round() + net.entry.zero - 128
            integers = x.permute(0, 2, 3, 1).numpy().astype(np.int8)
            for number, (stage, run) in enumerate(zip(net.ordered, runs)):
                run.run(integers)
                for title, module in eager_layers(stage).items():
                    if (number, title) not in expected:
                        continue
                    tensor, wanted = run.graph.tensors[run.names[title]], module(*map(run.real, run.inputs_of(title)))
                    if title.endswith("classifier"):  # logits are not rounded by the eager network
                        low, high = ((end - tensor.zero) * float(tensor.scales[0]) for end in (-128, 127))
                        wanted = wanted.clamp(low, high)
                    found = run.real(run.names[title]).reshape(wanted.shape)
                    worst = max(worst, float((found - wanted).abs().max() / tensor.scales[0]))
                    checked.add((number, title))
                if "features" in run.graph.outputs:
                    integers = run.integers(run.graph.outputs["features"]).astype(np.int8)
    assert checked == expected
    assert worst < 1.001  # steps; half of one where logits are compared


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(7, 13), width=st.integers(7, 13), kernel=st.sampled_from([1, 3, 5, 7]), stride=st.integers(1, 4),
    pad=st.booleans(), act=st.sampled_from([None, "relu", "relu6", "hardswish"]), depthwise=st.booleans(),
)  # fmt: skip
def test_any_convolution_is_within_one_step(height, width, kernel, stride, pad, act, depthwise):
    block = Conv(out=3, kernel=kernel, stride=stride, act=act, pad=pad)
    if depthwise:
        block = Separable(out=3, kernel=kernel, stride=stride, act=act or "relu")
    architecture = Architecture(input=(2, height, width), classes=3, stages=(Stage(blocks=(block,), exit=Branch()),))
    net, images = quantized(architecture), random_images(architecture, 3, seed=7)
    run = Inspected(stage_graphs(net, images)[0])
    module = net.ordered[0].blocks[0][0]
    with torch.no_grad():
        for image in images:
            x = net.enter(image[None].float())
            run.run(
                ((x / positive(net.entry.step)).round() + net.entry.zero - 128)
                .permute(0, 2, 3, 1)
                .numpy()
                .astype(np.int8)
            )
            found = run.real(run.names["backbone.blocks.0.depthwise" if depthwise else "backbone.blocks.0.conv"])
            assert found.shape == module(x).shape
            assert float((found - module(x)).abs().max() / positive(module.act[-1].step)) < 1.001


def test_a_hard_sigmoid_ends_at_one_whatever_step_was_learned():
    stage = Stage(blocks=(Bottleneck(out=4, hidden=8, squeeze=4),), exit=Branch())
    net = quantized(Architecture(input=(3, 8, 8), classes=3, stages=(stage,)))
    expand = net.ordered[0].blocks[0].squeeze.expand
    with torch.no_grad():
        expand.act[-1].step.fill_(3 / 255)
        expand.conv.bias += 10
    (graph,) = stage_graphs(net, random_images(net.architecture, 20))
    run = Inspected(graph)
    run.run(np.zeros((1, 8, 8, 3), np.int8))
    assert run.real(run.names["backbone.blocks.0.squeeze.expand"]).flatten().tolist() == pytest.approx([1.0] * 8)


@pytest.mark.parametrize("size", [1e-4, 1e-6, 1e-9, 0.0])
def test_biases_far_above_their_weights_are_kept(size):
    """As training leaves a squeeze-excite, or any other channel, that it has switched off by weight decay."""
    stage = Stage(blocks=(Conv(out=5), Bottleneck(out=4, hidden=8, squeeze=4)), exit=Branch())
    plain = trained_like(Architecture(input=(3, 8, 8), classes=3, stages=(stage,), precision=EIGHT), 0)
    expand = plain.ordered[0].blocks[1].squeeze.expand.conv
    with torch.no_grad():
        expand.weight *= size
        expand.bias.copy_(torch.linspace(-2, 2, 8))
    images = random_images(plain.architecture, 20)
    net = quantize(plain, images)
    with torch.no_grad():
        for layer in (net.ordered[0].blocks[0][0].conv, net.ordered[0].blocks[1].depthwise.conv):
            layer.bias[0] = 3e5  # so large that this channel's output is always clipped
        net.ordered[0].exit.classifier.weight[0] *= 1e-9
    (graph,) = stage_graphs(net, images)
    run = Inspected(graph)
    x = (net.enter(images[:1].float()) / positive(net.entry.step)).round() + net.entry.zero - 128
    run.run(x.detach().permute(0, 2, 3, 1).numpy().astype(np.int8))
    scales = run.real(run.names["backbone.blocks.1.squeeze.expand"]).flatten()
    assert scales.numpy() == pytest.approx(np.linspace(-2, 2, 8) / 6 + 0.5, abs=1.001 / 255 + 1e-4)
    for title, layer in eager_layers(net.ordered[0]).items():
        if title in ("backbone.blocks.0.conv", "backbone.blocks.1.depthwise", "branch.classifier"):
            tensor = run.graph.tensors[run.names[title]]
            wanted = layer(*map(run.real, run.inputs_of(title)))
            found = run.real(run.names[title]).reshape(wanted.shape)
            assert (found - wanted).abs().max() / tensor.scales[0] < 1.001, title


@pytest.fixture(scope="module")
def digits():
    return task("digits", seed=0)


@pytest.fixture(scope="module")
def trained(digits) -> EarlyExitNet:
    """At 8 bits, on real images."""
    stages = (
        Stage(blocks=(Conv(out=8),), exit=Branch(blocks=(Separable(out=16, stride=2),), pool="avg", grid=2)),
        Stage(
            blocks=(Bottleneck(out=12, hidden=16, stride=2), Bottleneck(out=12, hidden=16, squeeze=4, act="hardswish")),
            exit=Branch(pool="max", grid=2, hidden=(Dense(out=16),)),
        ),
        Stage(blocks=(Pool(how="avg"), Conv(out=16, kernel=1)), exit=Branch(grid=2)),
    )
    architecture = Architecture(input=(1, 8, 8), classes=10, stages=stages, precision=EIGHT)
    how = TrainSettings(backbone_epochs=0, joint_epochs=10, quantized_epochs=1, batch=32)
    return train(architecture, digits.without_test(), how).eval()


@pytest.fixture(scope="module")
def folder(trained, digits, tmp_path_factory):
    made = tmp_path_factory.mktemp("stages")
    policy = spread_policy(trained, digits.select.images, "margin")
    export_tflite(trained, policy, made, classes=CLASSES, images=digits.train.images)
    return made


def test_classes_and_exits_agree_on_500_real_images(trained, digits, folder):
    splits = [digits.splits[name] for name in ("test", "select", "calibrate")]
    images = torch.cat([split.images for split in splits])[:500]
    assert len(images) == 500
    model = StagedModel(folder)
    logits, taken = trained.infer(images.float(), model.policy)
    found = [model.run(image) for image in images.numpy()]
    assert len(set(taken.tolist())) == 3  # all exits are in use
    assert np.mean([said.argmax() for said, _ in found] == logits.argmax(1).numpy()) >= 0.99
    assert np.mean([exit for _, exit in found] == taken.numpy()) >= 0.98
    last = [model.run(image, (np.inf, np.inf)) for image in images.numpy()]
    with torch.no_grad():
        every = trained(images.float()).numpy()
    assert {exit for _, exit in last} == {2}
    assert np.mean([said.argmax() for said, _ in last] == every[:, -1].argmax(1)) >= 0.99


def test_what_is_written(trained, folder):
    about = json.loads((folder / "stages.json").read_text())
    assert [stage["file"] for stage in about["stages"]] == ["stage_0.tflite", "stage_1.tflite", "stage_2.tflite"]
    assert (about["input"], about["classes"]) == ([1, 8, 8], list(CLASSES))
    assert about["mean"] == trained.mean.flatten().tolist()
    for number in range(3):
        interpreter = litert.Interpreter(str(folder / f"stage_{number}.tflite"))
        interpreter.allocate_tensors()
        (signature,) = interpreter.get_signature_list().values()
        assert signature["inputs"] == ["input"]
        assert set(signature["outputs"]) == ({"features", "logits"} if number < 2 else {"logits"})
        for tensor in interpreter.get_tensor_details():
            scales, name = tensor["quantization_parameters"]["scales"], tensor["name"]
            if name.endswith(".weight"):
                assert len(scales) == max(tensor["shape"][0], 1 if tensor["shape"][0] > 1 else tensor["shape"][-1])
                assert np.abs(interpreter.get_tensor(tensor["index"]).astype(int)).max() <= 127
                assert not tensor["quantization_parameters"]["zero_points"].any()
            assert tensor["dtype"] == (np.int32 if name.endswith((".bias", ".shape", ".paddings")) else np.int8)


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u55-256", "ethos-u65-256"])
def test_trained_weights_cost_about_what_random_ones_do(trained, folder, device):
    files = [(folder / f"stage_{number}.tflite").read_bytes() for number in range(3)]
    found, drawn = cost(trained.architecture, device, files), cost(trained.architecture, device)
    assert found != drawn
    assert found.leaving("latency_ms") == pytest.approx(drawn.leaving("latency_ms"), rel=0.02)
    assert found.weight_bytes == pytest.approx(drawn.weight_bytes, rel=0.05)


def test_gates_are_read(tmp_path):
    net, images = quantized(gated()), random_images(gated(), 40, seed=5)
    policy = spread_policy(net, images, "gate")
    export_tflite(net, policy, tmp_path, classes=CLASSES, images=random_images(gated(), 100))
    model = StagedModel(tmp_path)
    _, taken = net.infer(images.float(), policy)
    assert np.mean([model.run(image)[1] == exit for image, exit in zip(images.numpy(), taken.tolist())]) >= 0.9


def test_what_cannot_be_written_is_named(tmp_path):
    def written(net, **other):
        given = {"policy": Policy("margin", (0.5,)), "classes": CLASSES, "images": random_images(tiny(), 10)} | other
        export_tflite(net, folder=tmp_path / "none", **given)

    with pytest.raises(
        ValueError, match=r"backbone_weights 32, .*branch_activations 32 \(32 is float\).*need 8 for all"
    ):
        written(trained_like(tiny()))
    four = EIGHT.model_copy(update={"branch_weights": 4})
    with pytest.raises(ValueError, match=r"precision has branch_weights 4 \(32"):
        written(quantized(tiny(), four))
    unrounded = trained_like(tiny())
    unrounded.architecture = tiny().model_copy(update={"precision": EIGHT})
    with pytest.raises(ValueError, match="computes in float"):
        written(unrounded)
    net = quantized(tiny())
    with pytest.raises(ValueError, match="policy has 2 thresholds; a network of 2 exits needs 1"):
        written(net, policy=Policy("margin", (0.5, 0.5)))
    with pytest.raises(ValueError, match=r"images are torch.float32 .*\(N, 1, 8, 8\)"):
        written(net, images=random_images(tiny(), 10).float())
    resized = tiny().model_copy(
        update={"stages": (tiny().stages[0], Stage(blocks=(Resize(size=9), Conv(out=4)), exit=Branch()))}
    )
    with pytest.raises(ValueError, match=r"stage 1: layer backbone.blocks.0.resize resizes 4 x 4 to 9 x 9 bicubically"):
        written(quantized(resized))
    net.ordered[0].blocks[0][0].conv.bias.data.fill_(torch.inf)
    with pytest.raises(ValueError, match=r"stage 0: layer backbone.blocks.0.conv has a bias that is not finite"):
        written(net)
    assert not (tmp_path / "none").exists()


def test_a_folder_without_stages_and_an_image_that_does_not_fit(tmp_path, folder):
    with pytest.raises(ModelError, match=r"stages\.json: no such file"):
        StagedModel(tmp_path)
    model = StagedModel(folder)
    with pytest.raises(ModelError, match=r"image is float32 .*uint8 \(1, 8, 8\) is needed"):
        model.run(np.zeros((1, 8, 8), np.float32))
    for thresholds in [(0.5,), (0.5, np.nan)]:
        with pytest.raises(ModelError, match=r"thresholds is \(0\.5,.* 2 numbers are needed"):
            model.run(np.zeros((1, 8, 8), np.uint8), thresholds)
    for text in ("{", "[]", '{"input": [1, 8, 8]}'):
        (tmp_path / "stages.json").write_text(text)
        with pytest.raises(ModelError, match=r"stages\.json: lacks or garbles"):
            StagedModel(tmp_path)


def test_the_command_line_writes_a_delivered_network(trained, tmp_path, monkeypatch):
    chosen = tmp_path / "run" / "chosen" / "best"
    chosen.mkdir(parents=True)
    (tmp_path / "run" / "recipe.toml").write_text('[data]\nname = "digits"\n[policy]\naccuracy = 0.9\n')
    (chosen / "architecture.json").write_text(trained.architecture.to_json())
    (chosen / "policy.json").write_text(Policy("margin", (0.9, 0.9)).to_json())
    save_file(trained.state_dict(), chosen / "weights.safetensors")
    done = CliRunner().invoke(
        app, ["export", str(chosen), "--tflite", str(tmp_path / "out"), "--device", "ethos-u55-128"]
    )
    assert done.exit_code == 0, done.output
    assert "stages.json" in done.output
    assert "device: ethos-u55-128" in done.output
    assert StagedModel(tmp_path / "out").policy.thresholds == (0.9, 0.9)
    monkeypatch.chdir(chosen.parent)
    CliRunner().invoke(app, ["export", "best", "--tflite", str(tmp_path / "again")], catch_exceptions=False)
    assert (tmp_path / "again" / "stages.json").read_bytes() == (tmp_path / "out" / "stages.json").read_bytes()


def test_scales_of_logits_are_taken_from_images_spread_over_all():
    net = trained_like(tiny())
    images = torch.cat([torch.zeros(1000, *net.architecture.input, dtype=torch.uint8), random_images(tiny(), 500)])
    spread = images[torch.linspace(0, 1499, 1000).round().long()]
    with torch.no_grad():
        assert _tflite._logit_scales(net, images) == _tflite._logit_scales(net, spread)
        assert _tflite._logit_scales(net, images) != _tflite._logit_scales(net, images[:1000])


@pytest.mark.parametrize("content", [None, b"", b"no flatbuffer at all"], ids=["missing", "empty", "other"])
def test_a_stage_that_cannot_be_read_is_told(tmp_path, folder, content):
    there = tmp_path / "copy"
    shutil.copytree(folder, there)
    (there / "stage_1.tflite").unlink()
    if content is not None:
        (there / "stage_1.tflite").write_bytes(content)
    with pytest.raises(ModelError, match=r"copy: a stage cannot be read: .*Export the stages again"):
        StagedModel(there)
