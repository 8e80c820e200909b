"""A device of measured layers: what its file may say, and what networks cost on it."""

import numpy as np
import pytest
import tomli_w

from offramp.architecture import Precision
from offramp.cost import DeviceError, Measured, MeasuredModel, cost, words_of
from offramp.cost import device as find_device
from offramp.layers import layers
from offramp.search.costs import Costs
from offramp.spaces import space

SPACE = space("offramp", (3, 32, 32), 10)


def network(exits: int = 3):
    return next(a for a in map(SPACE.sample, range(99)) if len(a.exits) == exits)


def every_layer(*networks):
    return [layer for a in networks for stage in layers(a) for layer in (*stage.backbone, *stage.branch)]


@pytest.fixture
def file(tmp_path):
    """Layer i of a network with three exits takes i microseconds and one more."""
    words = dict.fromkeys(map(words_of, every_layer(network())))
    times = {name: (i + 1) / 1000 for i, name in enumerate(words)}
    values = {"name": "mine", "about": "made up", "start_ms": 0.5, "exit_ms": 0.25, "scale": 0.5, "layers": times}
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps(values))
    return path


def test_a_network_takes_its_layers_scaled_a_start_and_its_decisions(file):
    made, found = network(), find_device(str(file))
    times = found.model.measured.layers
    spent, wanted = 0.5, []
    for stage in layers(made):
        spent += sum(times[words_of(layer)] for layer in stage.backbone) * 0.5
        if stage.branch:
            spent += sum(times[words_of(layer)] for layer in stage.branch) * 0.5
            wanted.append(spent + 0.25 * min(len(wanted) + 1, 2))
    assert cost(made, str(file)).leaving("latency_ms") == pytest.approx(wanted)
    assert cost(made, str(file)).leaving("macs") == cost(made).leaving("macs")
    alone = made.with_exits(made.exits[-1:])
    branch = sum(times[words_of(layer)] for layer in layers(alone)[-1].branch)
    backbone = sum(times[words_of(layer)] for stage in layers(alone) for layer in stage.backbone)
    assert cost(alone, str(file)).leaving("latency_ms") == pytest.approx([0.5 + 0.5 * (backbone + branch)])


def test_it_tells_latencies_and_no_energies(file):
    leaving = Costs(device=str(file)).leaving(network())
    assert set(leaving) == {"mean_macs", "mean_latency_ms"}
    assert np.all(np.diff(leaving["mean_latency_ms"]) > 0)
    with pytest.raises(ValueError, match="no cores to map to"):
        Costs(device=str(file), mapping="wait")


def test_layers_that_differ_in_what_takes_time_have_words_of_their_own():
    found = every_layer(*map(SPACE.sample, range(30)), space("aebnas", (3, 32, 32), 10).sample(0))
    same = ("name", "held", "norm", "bias", "weight_bits", "act_bits")
    plain = {layer._replace(**{key: type(getattr(layer, key))() for key in same}) for layer in found}
    assert len({words_of(layer) for layer in plain}) == len(plain) > 100
    assert words_of(found[0]) == words_of(found[0]._replace(name="other", held=99))


def test_a_layer_that_was_not_measured_is_named(file):
    missing = space("zniber", (3, 32, 32), 10).smallest()
    with pytest.raises(LookupError, match=r"conv 3x32x32 > 32x32x32 kernel 3 pad 1 relu6.*offramp devices measure"):
        cost(missing.model_copy(update={"precision": Precision()}), str(file))


def test_few_bits_were_not_measured(file):
    eight = Precision(backbone_weights=8, backbone_activations=8, branch_weights=8, branch_activations=8)
    with pytest.raises(LookupError, match="measured in float"):
        cost(network().model_copy(update={"precision": eight}), str(file))


def test_every_mistake_of_a_file_is_named(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text('name = "bad"\nstart_ms = -1\nscale = 0\nspeed = 3\n[layers]\n"conv" = "fast"\n')
    with pytest.raises(DeviceError) as caught:
        Measured.load(path)
    told = " ".join(caught.value.problems)
    assert all(part in told for part in ("about: is missing", "start_ms", "scale", "speed", "layers.conv"))


def test_a_model_is_as_good_as_its_file(file):
    model = MeasuredModel(Measured.load(file), file)
    assert cost(network(), model) == cost(network(), str(file))


def test_a_number_is_not_guessed_from_words(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text('name = "bad"\nabout = "made up"\nstart_ms = true\n[layers]\n"conv" = "1"\n')
    with pytest.raises(DeviceError) as caught:
        Measured.load(path)
    assert all(part in str(caught.value) for part in ("start_ms", "layers.conv"))


def test_a_file_in_one_s_home_is_found(file, monkeypatch):
    monkeypatch.setenv("HOME", str(file.parent))
    assert find_device(f"~/{file.name}").name == find_device(str(file)).name
