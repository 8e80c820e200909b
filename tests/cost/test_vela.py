"""Costs on Ethos-U: what Vela's own command says of the same files, and how the parts add up."""

import csv
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from offramp import cost as cost_of
from offramp.architecture import Architecture, Bottleneck, Branch, Conv, Dense, Pool, Precision, Resize, Stage
from offramp.cli import app
from offramp.cost import DeviceError, Npu, device
from offramp.cost.vela import _drawn
from offramp.spaces import space

pytest.importorskip("ethosu.vela", reason="ethos-u-vela is not installed (pip install 'offramp[ethos]')")

EIGHT = Precision(backbone_weights=8, backbone_activations=8, branch_weights=8, branch_activations=8)
NPUS = {
    "ethos-u55-128": ("Ethos_U55_High_End_Embedded", "Shared_Sram", 500e6),
    "ethos-u55-256": ("Ethos_U55_High_End_Embedded", "Shared_Sram", 500e6),
    "ethos-u65-256": ("Ethos_U65_High_End", "Dedicated_Sram_384KB", 1e9),
}


@pytest.fixture(scope="module")
def architecture() -> Architecture:
    stages = (
        Stage(
            blocks=(Conv(out=8, stride=2), Bottleneck(out=8, hidden=24, squeeze=8, act="hardswish")),
            exit=Branch(blocks=(Pool(kernel=2),), pool="avg", grid=2),
        ),
        Stage(blocks=(Bottleneck(out=16, hidden=32, kernel=5, stride=2, act="relu6"),)),
        Stage(
            blocks=(Conv(out=32, kernel=1, act="hardswish"),),
            exit=Branch(pool="avg", hidden=(Dense(out=24, act="hardswish"),)),
        ),
    )
    return Architecture(input=(3, 32, 32), classes=10, stages=stages, precision=EIGHT)


@pytest.mark.parametrize("name", NPUS)
def test_vela_s_own_command_says_the_same(architecture, name, tmp_path):
    files, (system, memory, clock) = _drawn(architecture), NPUS[name]
    costs = cost_of(architecture, name)
    paths = [tmp_path / f"{number}.tflite" for number in range(len(files))]
    for path, file in zip(paths, files):
        path.write_bytes(file)
    run = "import sys; from ethosu.vela.vela import main\nfor path in sys.argv[2:]: main([path, *sys.argv[1].split()])"
    options = (
        f"--accelerator-config {name} --config Arm/vela.ini --system-config {system} --memory-mode {memory} "
        f"--output-dir {tmp_path}"
    )
    subprocess.run([sys.executable, "-c", run, options, *map(str, paths)], check=True, capture_output=True)
    for number, (stage, branch) in enumerate(zip(costs.stages, costs.branches)):
        with open(tmp_path / f"{number}_summary_{system}.csv") as file:
            (said,) = csv.DictReader(file)
        parts = [stage] if branch is None else [stage, branch]
        assert sum(part.latency_ms for part in parts) == pytest.approx(float(said["cycles_total"]) / clock * 1e3)
        used = [float(said[key]) for key in said if key.endswith("_memory_used")]
        kept = sum(part.weight_bytes for part in parts)
        assert (kept + stage.activation_bytes) / 1024 == pytest.approx(sum(used))
        if memory == "Shared_Sram":
            assert kept / 1024 == pytest.approx(float(said["off_chip_flash_memory_used"]))


def test_costs_of_an_untrained_network(architecture):
    costs = cost_of(architecture, "ethos-u55-128")
    assert costs == cost_of(architecture, "ethos-u55-128")  # the weights are drawn, but the same ones
    plain = cost_of(architecture)
    assert [stage.macs for stage in costs.stages] == [stage.macs for stage in plain.stages]
    assert costs.params == plain.params
    assert [branch is None for branch in costs.branches] == [False, True, False]
    assert all(part.latency_ms > 0 for part in [*costs.stages, costs.branches[0], costs.branches[2]])
    first, last = costs.leaving("latency_ms")
    assert 0 < first < last
    faster = [cost_of(architecture, name).total.latency_ms for name in NPUS]
    assert sorted(faster, reverse=True) == faster
    assert costs.total.energy_mj == 0


def test_weights_that_compress_take_less_memory(architecture):
    model = device("ethos-u55-128").model
    drawn = _drawn(architecture)
    random = model.stages(architecture, drawn)
    plain = model.stages(architecture, [_with_weights_of_one(architecture, number) for number in range(len(drawn))])
    for (some, _), (fewer, _) in zip(random, plain):
        assert fewer.weight_bytes < 0.75 * some.weight_bytes
        assert fewer.latency_ms <= some.latency_ms


def _with_weights_of_one(architecture, number) -> bytes:
    from offramp.cost.vela import _values
    from offramp.layers import layers
    from offramp.tflite import Quant, StageValues, stage_graph, write

    described, generator = layers(architecture), np.random.default_rng(0)

    def one(layer):
        values = _values(layer, generator)
        return values if values.weight is None else values._replace(weight=np.ones_like(values.weight))

    stage = described[number]
    values = StageValues(*([one(layer) for layer in part] for part in stage))
    return write(stage_graph(number, stage, values, Quant(1 / 32, 0), number + 1 == len(described)))


@pytest.mark.parametrize("name", ["offramp", "zniber", "nachos", "edanas"])
def test_networks_of_the_spaces_run_whole_on_the_npu(name):
    network = space(name, (3, 32, 32), 10, **({"width": 0.25} if name == "zniber" else {})).sample(1)
    found = cost_of(network.model_copy(update={"precision": EIGHT}), "ethos-u55-256")
    assert all(part.latency_ms > 0 for part in (*found.stages, *filter(None, found.branches)))


def test_what_cannot_be_computed_is_told(architecture):
    with pytest.raises(ValueError, match=r"backbone_weights 32, .*stages for NPUs need 8 for all four"):
        cost_of(architecture.model_copy(update={"precision": Precision()}), "ethos-u55-128")
    resized = Stage(blocks=(Resize(size=9), Conv(out=4)), exit=Branch())
    with pytest.raises(ValueError, match=r"stage 0: layer backbone\.blocks\.0\.resize resizes 32 x 32 to 9 x 9"):
        cost_of(architecture.model_copy(update={"stages": (resized,)}), "ethos-u55-128")
    strided = Stage(blocks=(Bottleneck(out=8, hidden=8, kernel=5, stride=4),), exit=Branch())
    with pytest.raises(ValueError, match=r"stage 0: ethos-u55-128 cannot compute backbone\.blocks\.0\.depthwise"):
        cost_of(architecture.model_copy(update={"stages": (strided,)}), "ethos-u55-128")
    strided = Stage(blocks=(Conv(out=8, stride=4),), exit=Branch())
    with pytest.raises(ValueError, match=r"stage 0: Vela cannot compile it for ethos-u55-128: .*Conv2D"):
        cost_of(architecture.model_copy(update={"stages": (strided,)}), "ethos-u55-128")
    with pytest.raises(ValueError, match=r"stage 1 is no \.tflite file"):
        cost_of(architecture, "ethos-u55-128", [_drawn(architecture)[0], b"something", b"else"])
    with pytest.raises(ValueError, match="files has 1 entries; the network has 3 stages"):
        cost_of(architecture, "ethos-u55-128", _drawn(architecture)[:1])
    with pytest.raises(ValueError, match="device is 'analytic', no NPU"):
        cost_of(architecture, files=[])


def test_a_file_that_is_cut_short_or_damaged_is_refused(architecture):
    model, file = device("ethos-u55-128").model, _drawn(architecture)[0]
    assert model.compile(file).cycles
    for end in [8, 12, 20, 100, len(file) // 2, len(file) - 64, len(file) - 1]:
        with pytest.raises(ValueError, match="stage 0 is damaged or cut short"):
            model.compile(file[:end], "stage 0")
    with pytest.raises(ValueError, match="the file is damaged"):
        model.compile(file[:8] + b"\xff" * 40 + file[48:])


def test_without_vela_it_is_told_what_to_install(architecture, monkeypatch):
    import importlib.metadata

    monkeypatch.setattr(importlib.metadata, "version", lambda name: "4.0.0")
    found = device("ethos-u55-128").model
    found.__dict__.pop("_features", None)
    with pytest.raises(
        RuntimeError, match=r"need ethos-u-vela 5.2.0; installed is 4.0.0: pip install 'offramp\[ethos\]'"
    ):
        found.stages(architecture)


def test_a_file_of_one_s_own(architecture, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\nabout = "small"\naccelerator = "ethos-u55-32"\nsystem = "Ethos_U55_Deep_Embedded"\n'
        'memory = "Shared_Sram"\n'
    )
    assert cost_of(architecture, str(path)).total.latency_ms > cost_of(architecture, "ethos-u55-128").total.latency_ms
    path.write_text(path.read_text().replace("Ethos_U55_Deep_Embedded", "Nothing"))
    with pytest.raises(ValueError, match=r"device mine: .*Nothing"):
        cost_of(architecture, str(path))
    path.write_text(path.read_text() + 'config = "none.ini"\n')
    with pytest.raises(ValueError, match=r"device mine: config is .*none\.ini, which is no file"):
        cost_of(architecture, str(path))
    path.write_text(path.read_text().replace("ethos-u55-32", "ethos-u55-999"))
    with pytest.raises(ValueError, match=r"device mine: accelerator is 'ethos-u55-999'; Vela knows .*ethos-u55-32"):
        cost_of(architecture, str(path))
    path.write_text('name = "mine"\naccelerator = "ethos-u99"\ncolour = 3\n')
    with pytest.raises(DeviceError, match=r"mine\.toml") as caught:
        device(str(path))
    problems = "\n".join(caught.value.problems)
    for part in ("about: is missing", "accelerator: is 'ethos-u99'", "colour: is not known here", "system: is missing"):
        assert part in problems
    path.write_text("name =")
    with pytest.raises(DeviceError, match=r"mine\.toml"):
        Npu.load(path)


def test_the_command_line_shows_latency_without_energy(architecture, tmp_path):
    path = tmp_path / "architecture.json"
    path.write_text(architecture.to_json())
    done = CliRunner().invoke(app, ["cost", str(path), "--device", "ethos-u55-128", "--json"])
    assert done.exit_code == 0, done.output
    assert '"latency_ms_by_exit"' in done.output
    assert '"energy_mj_by_exit"' not in done.output
