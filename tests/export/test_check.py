"""A file that does something else is not written."""

import numpy as np
import onnx
import pytest
import torch
from export_nets import CLASSES, random_images, spread_policy, tiny, trained_like
from onnx import numpy_helper

from offramp.architecture import Precision
from offramp.export import ExportError, export_onnx
from offramp.export import _check as check_module
from offramp.export import _export as export_module
from offramp.nn.quantize import quantize
from offramp.policy import Policy, confidence


def _graphs(graph):
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _set(tensor, change):
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), tensor.name))


def _nodes(model, ending):
    return [node for graph in _graphs(model.graph) for node in graph.node if node.name.endswith(ending)]


def _last_weights(model):
    tensors = [t for graph in _graphs(model.graph) for t in graph.initializer if t.name.endswith("Gemm.weight")]
    _set(tensors[-1], lambda a: a * np.float32(1.01))


def _unused_branch(model):
    # exit 1 of 3 is skipped by the policy of the test below: only the forced runs go there
    tensors = [t for graph in _graphs(model.graph) for t in graph.initializer if t.name.endswith("Gemm.bias")]
    _set(tensors[1], lambda a: a + np.float32(0.1))


def _exit_number(model):
    for node in _nodes(model, "exit1.exit"):
        _set(node.attribute[0].t, lambda a: np.array(0, np.int64))


def _wrong_threshold(model):
    for node in _nodes(model, "exit1.place"):
        _set(node.attribute[0].t, lambda a: np.array(0, np.int64))


def _comparison(model):
    for node in _nodes(model, "exit0.sure"):
        node.op_type = "LessOrEqual"


def _other_score(model):
    for node in _nodes(model, "exit1.score"):
        node.op_type = "ReduceMin"


def _nan(model):
    tensors = [t for graph in _graphs(model.graph) for t in graph.initializer if t.name.endswith("Gemm.bias")]
    _set(tensors[-1], lambda a: a * np.float32(np.nan))


TAMPERED = [_last_weights, _unused_branch, _exit_number, _wrong_threshold, _comparison, _other_score, _nan]


@pytest.mark.parametrize("tamper", TAMPERED)
def test_a_tampered_file_is_refused(tmp_path, monkeypatch, tamper):
    net, images = trained_like(tiny(3)), random_images(tiny(3))
    policy = spread_policy(net, images, "max_probability")
    policy = Policy(policy.measure, (policy.thresholds[0], 2.0))  # nobody leaves at exit 1
    path, build_file = tmp_path / "model.onnx", export_module.build_file
    path.write_text("the file before")

    def tampering(*arguments):
        model = onnx.load_from_string(build_file(*arguments))
        before = model.SerializeToString(deterministic=True)
        tamper(model)
        assert model.SerializeToString(deterministic=True) != before
        return model.SerializeToString()

    export_onnx(net, policy, tmp_path / "untouched.onnx", classes=CLASSES, images=images)
    monkeypatch.setattr(export_module, "build_file", tampering)
    with pytest.raises(ExportError, match=r"logits differ by up to .* of 40 images leave at another exit; \d of 8"):
        export_onnx(net, policy, path, classes=CLASSES, images=images)
    assert path.read_text() == "the file before"
    assert {file.name for file in tmp_path.iterdir()} == {"model.onnx", "untouched.onnx"}


@pytest.mark.parametrize("tamper", [_last_weights, _unused_branch])
def test_exits_that_no_image_reaches_are_tried(tmp_path, monkeypatch, tamper):
    net, images, build_file = trained_like(tiny(3)), random_images(tiny(3)), export_module.build_file

    def tampering(*arguments):
        model = onnx.load_from_string(build_file(*arguments))
        tamper(model)
        return model.SerializeToString()

    monkeypatch.setattr(export_module, "build_file", tampering)
    policy = Policy("max_probability", (0.0, 0.0))
    with pytest.raises(ExportError, match="logits differ"):
        export_onnx(net, policy, tmp_path / "model.onnx", classes=CLASSES, images=images)


def test_tolerance_is_relative_to_large_logits(tmp_path):
    net, images = trained_like(tiny()), random_images(tiny())
    for stage in net.stages:
        stage.exit.classifier.weight.data *= 1000
        stage.exit.classifier.bias.data *= 1000
    policy = Policy("margin", (2.0,))  # every score is 1
    check = export_onnx(net, policy, tmp_path / "model.onnx", classes=CLASSES, images=images, tolerance=1e-5)
    assert check.tolerance > 1e-3
    with pytest.raises(ExportError, match="logits differ"):
        export_onnx(net, policy, tmp_path / "model.onnx", classes=CLASSES, images=images, tolerance=1e-12)


def test_a_network_with_nan_is_refused(tmp_path):
    net = trained_like(tiny())
    net.stages[1].exit.classifier.bias.data[3] = torch.nan
    with pytest.raises(ExportError, match="NaN"):
        export_onnx(net, Policy("entropy", (-1.0,)), tmp_path / "m.onnx", classes=CLASSES, images=random_images(tiny()))
    assert not list(tmp_path.iterdir())


def test_a_score_on_the_threshold_may_fall_on_either_side(tmp_path):
    net, images = trained_like(tiny()), random_images(tiny())
    with torch.inference_mode():
        scores = confidence("max_probability", net(images.float()).numpy())
    for score in scores[:5, 0]:
        for nudge in (-1e-7, 0.0, 1e-7):
            policy = Policy("max_probability", (float(score) + nudge,))
            check = export_onnx(net, policy, tmp_path / "m.onnx", classes=CLASSES, images=images)
            assert check.exit_agreement == 1 - check.flips / check.n


def test_flips_within_rounding_are_counted_not_refused():
    scores = np.array([[0.5, 1], [0.5, 1], [0.5, 1]], np.float32)
    eager = check_module._Eager(np.zeros((3, 1)), np.zeros((3, 2, 2)), scores)
    wanted, taken = np.array([0, 0, 1]), np.array([1, 0, 0])
    near = check_module._excused(eager, (0.50005,), wanted, taken, 1e-4)
    far = check_module._excused(eager, (0.5003,), wanted, taken, 1e-4)
    assert near.tolist() == [True, True, True]
    assert far.tolist() == [False, False, False]


def test_what_counts_is_the_exit_where_the_ways_part():
    scores = np.array([[0.5, 0.9, 1]], np.float32)
    eager = check_module._Eager(np.zeros((1, 1)), np.zeros((1, 3, 2)), scores)
    for wanted, taken in ((0, 1), (1, 0), (0, 2)):
        both = np.array([wanted]), np.array([taken])
        assert check_module._excused(eager, (0.50001, 0.3), *both, 1e-4).item()
        assert not check_module._excused(eager, (0.3, 0.90001), *both, 1e-4).item()


def _one_image_leaves_elsewhere(image, thresholds, odd):
    return (-np.inf, *thresholds[1:]) if np.array_equal(image, odd) else thresholds


def _scores_a_little_off(image, thresholds, odd):
    return tuple(t - 0.002 for t in thresholds)


@pytest.mark.parametrize("change", [_one_image_leaves_elsewhere, _scores_a_little_off])
def test_a_small_fault_of_the_runtime_is_found(tmp_path, monkeypatch, change):
    net, images = trained_like(tiny(3)), random_images(tiny(3))
    policy, run = spread_policy(net, images, "max_probability"), check_module.run
    taken = net.infer(images.float(), policy)[1].tolist()
    odd = next(images[i].numpy() for i in range(40) if taken[i] == 2 and i % 5)  # every fifth is tried more closely
    monkeypatch.setattr(check_module, "run", lambda s, image, t: run(s, image, change(image, tuple(t), odd)))
    with pytest.raises(ExportError):
        export_onnx(net, policy, tmp_path / "m.onnx", classes=CLASSES, images=images)


def test_a_write_cut_short_leaves_the_file_before(tmp_path, monkeypatch):
    net, images, path = trained_like(tiny()), random_images(tiny()), tmp_path / "m.onnx"
    path.write_text("the file before")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(export_module.os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        export_onnx(net, spread_policy(net, images, "margin"), path, classes=CLASSES, images=images)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["the file before"]


def test_at_most_a_thousand_images_evenly_spaced(tmp_path):
    net, images = trained_like(tiny()), random_images(tiny(), 1500)
    policy = Policy("max_probability", (0.123456,))
    assert export_onnx(net, policy, tmp_path / "m.onnx", classes=CLASSES, images=images).n == 1000
    chosen = check_module._spaced(torch.arange(1500), 1000)
    assert (chosen[0], chosen[-1], len(set(chosen.tolist()))) == (0, 1499, 1000)


def test_one_image_is_enough(tmp_path):
    net = trained_like(tiny())
    policy = Policy("margin", (0.123456,))
    assert export_onnx(net, policy, tmp_path / "m.onnx", classes=CLASSES, images=random_images(tiny(), 1)).n == 1


def _few_bits(images):
    net = trained_like(tiny())
    eight = Precision(backbone_weights=8, backbone_activations=8, branch_weights=8, branch_activations=8)
    net.architecture = net.architecture.model_copy(update={"precision": eight})
    return quantize(net, images)


def _exported(monkeypatch, path, few_bits, images, spoilt, spoil):
    """`tiny` of 8 bits or float, where the file says something else of the images `spoilt`."""
    net = _few_bits(images) if few_bits else trained_like(tiny())
    run, others = check_module.run, {images[i].numpy().tobytes() for i in spoilt}

    def spoiling(session, image, thresholds):
        logits, exit = run(session, image, thresholds)
        return (spoil(logits) if image.tobytes() in others else logits), exit

    monkeypatch.setattr(check_module, "run", spoiling)
    return export_onnx(net, Policy("margin", (2.0,)), path, classes=CLASSES, images=images)


def _far(logits):
    return logits * 3 + 20  # the same class


def test_of_a_network_of_few_bits_one_image_may_have_other_logits(tmp_path, monkeypatch):
    """One value on the verge of two steps moves the logits of its image."""
    check = _exported(monkeypatch, tmp_path / "m.onnx", True, random_images(tiny()), [3], _far)
    assert check.max_abs_difference > check.tolerance
    assert check.top1_agreement == 1
    assert check.strays == 1


@pytest.mark.parametrize(
    "few_bits, n, spoilt, spoil",
    [
        (False, 40, [3], _far),
        (True, 40, [3, 7], _far),
        (True, 10, [3], _far),
        (True, 40, [3], lambda logits: logits * np.float32(np.nan)),
    ],
    ids=["float", "two of them", "few images", "nan"],
)
def test_other_logits_are_refused(tmp_path, monkeypatch, few_bits, n, spoilt, spoil):
    with pytest.raises(ExportError, match="logits differ by up to"):
        _exported(monkeypatch, tmp_path / "m.onnx", few_bits, random_images(tiny(), n), spoilt, spoil)


def test_a_stray_image_does_not_hide_wrong_decisions(tmp_path, monkeypatch):
    """What rounding may excuse is told by the other images."""
    net, images = _few_bits(random_images(tiny())), random_images(tiny())
    policy = spread_policy(net, images, "margin")
    run, other = check_module.run, images[3].numpy().tobytes()

    def spoiling(session, image, thresholds):
        logits, exit = run(session, image, [t - 0.2 for t in thresholds])  # as a file with other scores would
        return (_far(logits) if image.tobytes() == other else logits), exit

    monkeypatch.setattr(check_module, "run", spoiling)
    with pytest.raises(ExportError, match=r"[1-9]\d* of 40 images leave at another exit"):
        export_onnx(net, policy, tmp_path / "m.onnx", classes=CLASSES, images=images)


def test_equal_logits_are_no_other_class(tmp_path, monkeypatch):
    """Two classes with the same logit: the file may name the other one."""

    def two_equal(images):
        net = trained_like(tiny())
        head = net.stages[-1].exit.classifier
        with torch.no_grad():
            best = net(images.float())[:, -1].mean(0).topk(2).indices
            head.weight[best[0]] = head.weight[best[1]]
            head.bias[best] = head.bias[best].max() + 50
        return net, best

    images = random_images(tiny())
    net, (one, other) = two_equal(images)
    run = check_module.run

    def nudged(session, image, thresholds):
        logits, exit = run(session, image, thresholds)
        logits = logits.copy()
        logits[max(one, other)] += np.float32(1e-5)
        return logits, exit

    monkeypatch.setattr(check_module, "run", nudged)
    check = export_onnx(net, Policy("margin", (2.0,)), tmp_path / "m.onnx", classes=CLASSES, images=images)
    assert check.top1_agreement == 1


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same exit", "another exit"])
@pytest.mark.parametrize("spoilt", [[3], [3, 7]])
def test_another_class_is_refused_however_far_logits_may_differ(tmp_path, monkeypatch, spoilt, elsewhere):
    """Of more images than one in few; of images that leave at another exit, as rounding may have it, it is expected."""
    net, images, run = trained_like(tiny()), random_images(tiny()), check_module.run
    others = {images[i].numpy().tobytes() for i in spoilt}

    def spoiling(session, image, thresholds):
        logits, exit = run(session, image, thresholds)
        return (-logits, 0 if elsewhere else exit) if image.tobytes() in others else (logits, exit)

    def exported():
        policy = Policy("margin", (2.0,))  # nobody leaves early
        return export_onnx(net, policy, tmp_path / "m.onnx", classes=CLASSES, images=images, tolerance=1e6)

    monkeypatch.setattr(check_module, "run", spoiling)
    if len(spoilt) > 1 and not elsewhere:
        with pytest.raises(ExportError, match="gives 2 of 40 images another class"):
            exported()
        return
    check = exported()
    assert check.top1_agreement == 1 - len(spoilt) / 40
    assert check.flips == len(spoilt) * elsewhere
