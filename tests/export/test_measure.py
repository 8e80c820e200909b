"""Layers and networks timed under ONNX Runtime: what is run, and what is made of the times; never how long it took."""

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F

from offramp.architecture import Precision
from offramp.cost import Measured, MeasuredModel, cost, words_of
from offramp.export import measure
from offramp.export._one_layer import model_of
from offramp.export._session import open_session
from offramp.export.measure import COPIES, Exit, agreement, fitted, measure_device, measure_exits, measure_layers
from offramp.layers import Layer, Shape, layers
from offramp.spaces import space

_TWO = {"widths": [[8], [12]], "strides": [1, 2], "depths": [[1], [1]], "activations": ["relu", "relu"]}
SPACE = space("offramp", (1, 8, 8), 10, stem_widths=[8], **_TWO)


def every_layer(*networks):
    found = [layer for a in networks for stage in layers(a) for layer in (*stage.backbone, *stage.branch)]
    return list({words_of(layer): layer for layer in found}.values())


@pytest.mark.parametrize("name", ["offramp", "nachos", "aebnas", "zniber"])
def test_a_layer_s_model_gives_maps_of_its_shape(name):
    spaces = space(name, (3, 32, 32), 10)
    found = every_layer(spaces.smallest(), *map(spaces.sample, range(4)))
    assert {layer.op for layer in found} >= {"conv", "linear", "add", "pool"}
    for layer in found:
        model, feeds = model_of(layer, copies=2)
        outputs = open_session(model).run(None, feeds)
        wanted = layer.shape_out[:1] if layer.op == "linear" else layer.shape_out
        assert [output.shape for output in outputs] == [(1, *wanted)] * 2, layer


def test_copies_have_weights_of_their_own_and_the_activation_is_there():
    conv = next(layer for layer in every_layer(SPACE.largest()) if layer.op == "conv" and layer.act == "relu")
    model, feeds = model_of(conv, copies=COPIES)
    graph = onnx.load_from_string(model).graph
    assert [sum(node.op_type == kind for node in graph.node) for kind in ("Conv", "Relu")] == [COPIES, COPIES]
    weights = [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if len(tensor.dims) == 4]
    assert len(weights) == COPIES
    assert not np.array_equal(weights[0], weights[1])
    assert min(output.min() for output in open_session(model).run(None, feeds)) == 0


def test_layers_that_are_known_are_not_measured_again():
    found = every_layer(SPACE.smallest())
    known = {words_of(found[0]): 1234.5}
    times = measure_layers(found, known)
    assert times[words_of(found[0])] == 1234.5
    assert set(times) == set(map(words_of, found))
    assert all(np.isfinite(ms) and ms >= 0 for ms in times.values())
    assert known == {words_of(found[0]): 1234.5}


def test_what_exits_are_made_up_of():
    network = SPACE.largest()
    times = {words_of(layer): float(i + 1) for i, layer in enumerate(every_layer(network))}
    device = Measured(name="x", about="x", layers=times, scale=0.5, start_ms=7.0, exit_ms=9.0)
    exits = measure_exits(network, device, repeats=3)
    plain = device.model_copy(update={"scale": 1.0, "start_ms": 0.0, "exit_ms": 0.0})
    told = [sum(plain.layers[words_of(layer)] for layer in stage.backbone + stage.branch) for stage in layers(network)]
    assert [e.layers_ms for e in exits] == pytest.approx(np.cumsum(told)[list(network.exits)])
    assert [e.decisions for e in exits] == [min(e + 1, len(exits) - 1) for e in range(len(exits))]
    assert [e.macs for e in exits] == list(cost(network).leaving("macs"))
    assert all(e.ms > 0 for e in exits)


def test_a_static_network_decides_nothing():
    network = SPACE.largest().with_exits(SPACE.largest().exits[-1:])
    device = Measured(name="x", about="x", layers={words_of(layer): 1.0 for layer in every_layer(network)})
    assert [e.decisions for e in measure_exits(network, device, repeats=2)] == [0]


def test_what_was_planted_is_found_again():
    rng, exits = np.random.default_rng(0), []
    for _ in range(12):
        alone = rng.uniform(0.1, 2.0)
        exits += [Exit(0.8 * a + 0.02 * n + 0.05, a, n, int(1e6 * a)) for n, a in enumerate((alone, 1.5 * alone))]
    made = fitted(Measured(name="x", about="x", layers={"conv": 1.0}), exits)
    assert (made.scale, made.exit_ms, made.start_ms) == pytest.approx((0.8, 0.02, 0.05))
    found = agreement(made, exits)
    assert found.exits == 24
    assert found.error == pytest.approx(0, abs=1e-9)
    assert found.tau == 1
    off = agreement(made.model_copy(update={"scale": 1.6, "exit_ms": 0.04, "start_ms": 0.1}), exits)
    assert off.error == pytest.approx(1)
    assert off.tau == 1


def test_nothing_is_negative():
    exits = [Exit(1.0 * a - 0.1, a, 1, 1) for a in (0.5, 1.0, 2.0)]
    made = fitted(Measured(name="x", about="x", layers={"conv": 1.0}), exits)
    assert min(made.exit_ms, made.start_ms) == 0


@pytest.fixture
def clock(monkeypatch):
    """A layer takes a microsecond, a network 2 for each of its layers, 3 for each exit and 5 for the call."""
    monkeypatch.setattr(measure, "_alone", lambda layer, threads: 0.001)

    def exits(network, device, threads):
        told = cost(network, MeasuredModel(device.model_copy(update=PLAIN), "x")).leaving("latency_ms")
        count = len(told)
        decisions = [min(e + 1, count - 1) for e in range(count)]
        return [Exit(2 * a + 0.003 * n + 0.005, a, n, int(1e6 * a)) for a, n in zip(told, decisions)]

    monkeypatch.setattr(measure, "measure_exits", exits)


PLAIN = {"scale": 1.0, "start_ms": 0.0, "exit_ms": 0.0}
NETWORKS = [SPACE.sample(seed) for seed in range(8)]


def test_a_machine_becomes_a_device(tmp_path, clock):
    file = tmp_path / "here.toml"
    device, found = measure_device(file, every_layer(*NETWORKS), NETWORKS)
    assert (device.scale, device.exit_ms, device.start_ms) == pytest.approx((2, 0.003, 0.005))
    assert "ONNX Runtime" in device.about
    assert found.exits == sum(len(network.exits) for network in NETWORKS[1::2])
    assert set(device.layers) == set(map(words_of, every_layer(*NETWORKS)))
    assert Measured.load(file) == device


def test_a_file_gets_the_layers_that_it_lacks_and_keeps_its_numbers(tmp_path, clock):
    file = tmp_path / "here.toml"
    first, _ = measure_device(file, (), NETWORKS[:2])
    changed = first.model_copy(update={"scale": 3.0, "layers": dict.fromkeys(first.layers, 0.5)})
    measure._write(file, changed)
    second, _ = measure_device(file, every_layer(SPACE.largest()), NETWORKS)
    assert (second.scale, second.exit_ms, second.start_ms) == (3.0, first.exit_ms, first.start_ms)
    assert changed.layers.items() < second.layers.items()
    assert Measured.load(file) == second


def test_another_machine_s_file_is_left_alone(tmp_path, clock):
    file = tmp_path / "phone.toml"
    measure._write(file, Measured(name="phone", about="LiteRT", layers={"conv": 31.0}))
    before = file.read_text()
    with pytest.raises(ValueError, match=r"was measured on 'LiteRT'; this is .*ONNX Runtime.*take another file"):
        measure_device(file, (), NETWORKS)
    assert file.read_text() == before
    with pytest.raises(ValueError, match="no folder that can be written to"):
        measure_device(tmp_path / "none" / "here.toml", (), NETWORKS)


def test_layers_are_kept_though_the_networks_fail(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(measure, "measure_exits", lambda *given: 1 / 0)
    file = tmp_path / "here.toml"
    with pytest.raises(ZeroDivisionError):
        measure_device(file, (), NETWORKS)
    assert set(Measured.load(file).layers) == set(map(words_of, every_layer(*NETWORKS)))


def test_what_was_stopped_before_it_was_fitted_is_fitted_the_next_time(tmp_path, clock):
    file = tmp_path / "here.toml"
    whole, _ = measure_device(file, (), NETWORKS)
    measure._write(file, whole.model_copy(update=PLAIN))
    again, _ = measure_device(file, (), NETWORKS)
    assert again == whole


def test_times_that_fall_with_the_layers_are_told_by_the_layers_alone():
    exits = [Exit(1.0, 1.0, 0, 1), Exit(0.5, 2.0, 0, 2), Exit(0.3, 3.0, 0, 3)]
    made = fitted(Measured(name="x", about="x", layers={"conv": 1.0}), exits)
    assert (made.scale, made.exit_ms, made.start_ms) == (0.25, 0.0, 0.0)


def test_networks_of_few_bits_are_measured_in_float(tmp_path, clock):
    eight = Precision(backbone_weights=8, backbone_activations=8, branch_weights=8, branch_activations=8)
    networks = [network.model_copy(update={"precision": eight}) for network in NETWORKS]
    device, _ = measure_device(tmp_path / "here.toml", every_layer(*networks), networks)
    assert cost(NETWORKS[0], MeasuredModel(device, "x")).total.latency_ms > 0


def test_it_really_measures(tmp_path):
    device, found = measure_device(tmp_path / "here.toml", (), NETWORKS[:2])
    assert found.exits == len(NETWORKS[1].exits)
    assert max(device.layers.values()) > 0


def test_networks_that_tell_the_agreement_are_not_fitted(tmp_path, clock, monkeypatch):
    """Every second network takes twice what the others say."""
    assert not any(network in NETWORKS[::2] for network in NETWORKS[1::2])
    plain = measure.measure_exits

    def exits(network, device, threads):
        slower = 2 if network in NETWORKS[1::2] else 1
        return [e._replace(ms=slower * e.ms) for e in plain(network, device, threads)]

    monkeypatch.setattr(measure, "measure_exits", exits)
    device, found = measure_device(tmp_path / "here.toml", (), NETWORKS)
    assert (device.scale, device.exit_ms, device.start_ms) == pytest.approx((2, 0.003, 0.005))
    assert found.error == pytest.approx(0.5)


def test_a_layer_takes_the_difference_for_each_further_copy(monkeypatch):
    monkeypatch.setattr(measure, "_milliseconds", lambda calls, repeats: [1.0, 17.0])
    assert measure._alone(every_layer(SPACE.smallest())[0], 1) == 16 / (measure.COPIES - 1)


def test_what_is_fitted_has_the_least_relative_errors():
    rng, exits = np.random.default_rng(0), []
    for n, alone in enumerate(np.geomspace(0.05, 50, 30)):
        exits.append(Exit((0.8 * alone + 0.02 * (n % 3) + 0.05) * rng.uniform(0.8, 1.2), alone, n % 3, 1))
    made = fitted(Measured(name="x", about="x", layers={"conv": 1.0}), exits)

    def squared(d):
        told = [e.layers_ms * d.scale + e.decisions * d.exit_ms + d.start_ms for e in exits]
        return sum((t / e.ms - 1) ** 2 for t, e in zip(told, exits))

    for name in ("scale", "exit_ms", "start_ms"):
        for factor in (0.98, 1.02):
            other = made.model_copy(update={name: getattr(made, name) * factor})
            assert squared(made) <= squared(other) + 1e-12, (name, factor)


def test_the_tau_of_macs_is_told_apart_from_that_of_the_layers():
    exits = [Exit(float(i), float(i), 0, 10 - i) for i in range(1, 6)]
    found = agreement(Measured(name="x", about="x", layers={"conv": 1.0}), exits)
    assert (found.tau, found.tau_macs) == (pytest.approx(1), pytest.approx(-1))


@pytest.mark.parametrize(("size", "kernel"), [(7, 2), (11, 4), (5, 3), (8, 2)])
@pytest.mark.parametrize("how", ["max", "avg"])
def test_a_pooling_block_is_timed_with_its_own_window(size, kernel, how):
    """It leaves out what is left over at the edges; windows to a grid would overlap."""
    out = size // kernel
    layer = Layer("pool", "pool", Shape(3, size, size), Shape(3, out, out), kernel, kernel, pool=how)
    model, feeds = model_of(layer)
    session = open_session(model)
    (found,) = session.run(None, feeds)
    pooled = {"max": F.max_pool2d, "avg": F.avg_pool2d}[how](torch.from_numpy(feeds["x"]), kernel)
    np.testing.assert_allclose(found, pooled.numpy(), rtol=1e-5, atol=1e-6)
