"""Device files: the figures that they hold, and what a wrong one is told."""

import pytest
from typer.testing import CliRunner

from offramp import cost as cost_of
from offramp import space
from offramp.cli import app
from offramp.cost import DEVICES, DeviceError, Hardware, describe, device
from offramp.cost.devices import _FILES

REFERENCES = ["ascend-like", "edge-tpu-like", "eyeriss-like", "meta-prototype", "tesla-npu-like", "tpu-like"]


def test_the_devices_known():
    npus = ["ethos-u55-128", "ethos-u55-256", "ethos-u65-256"]
    assert list(DEVICES) == ["analytic", *sorted([*REFERENCES, *npus, "edge-tpu", "quad-edge-tpu"])]
    for name, found in DEVICES.items():
        assert (found.name, "\n" in found.about) == (name, False)
        assert len(found.about) > 20
    assert device("tesla_npu_like") == device("tesla-npu-like")


def test_quad_edge_tpu_has_the_paper_s_figures():
    found = describe("quad-edge-tpu")
    assert (found.cores, found.units, found.array.mac_pj) == (4, 1024, 0.04)
    assert list(found.array.sizes.values()) == [8, 8, 4, 4]
    memories = {m.name: (m.bits, m.ports[0].bits[1], m.read_pj, m.write_pj, m.operands) for m in found.memory}
    assert memories == {
        "weight_register": (32, 32, 0.01, 0.01, ("W",)),
        "output_register": (32, 32, 0.02, 0.02, ("O",)),
        "weight_sram": (32 * 1024 * 8, 512, 22.9, 52.01, ("W",)),
        "activation_sram": (2 * 1024**2 * 8, 2048, 416.16, 378.4, ("I", "O")),
        "dram": (10_000_000_000, 64, 700, 750, ("I", "W", "O")),
    }
    assert found.mesh is not None
    mesh = (found.mesh.columns, found.mesh.rows, found.mesh.link_bits, found.mesh.offchip_bits, found.mesh.offchip_pj)
    assert mesh == (2, 2, 32, 64, 1000)
    assert describe("edge-tpu").digest() == found.digest()  # one core of it: the same table serves both
    assert describe("edge-tpu").cores == 1


@pytest.mark.parametrize("name", REFERENCES)
def test_zigzag_s_devices_are_as_it_describes_them(name):
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with ZigZag")
    zigzag = pytest.importorskip("zigzag", reason="zigzag-dse is not installed (pip install 'offramp[zigzag]')")
    path = f"{zigzag.__path__[0]}/inputs/hardware/{name.replace('-', '_')}.yaml"
    with open(path) as file:
        wanted = yaml.safe_load(file)
    found = describe(name)
    assert list(found.array.sizes.values()) == wanted["operational_array"]["sizes"]
    assert found.array.mac_pj == wanted["operational_array"]["unit_energy"]
    names = {"I1": "I", "I2": "W", "O": "O"}
    for memory in found.memory:
        data = wanted["memories"][memory.name]
        assert (memory.bits, memory.read_pj, memory.write_pj) == (data["size"], data["r_cost"], data["w_cost"])
        assert list(memory.operands) == [names[o] for o in data["operands"]]
        ports = [(p["type"], (p["bandwidth_min"], p["bandwidth_max"])) for p in data["ports"]]
        assert [(p.type, p.bits) for p in memory.ports] == ports
        if (name, memory.name) != ("ascend-like", "dram"):  # see the note in the file
            assert list(memory.serves) == data["served_dimensions"]


def test_a_file_of_one_s_own_works_where_a_name_does(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFRAMP_CACHE", str(tmp_path))
    path = tmp_path / "mine.toml"
    text = (_FILES / "quad-edge-tpu.toml").read_text()
    path.write_text(text.replace('"quad-edge-tpu"', '"mine"').replace("clock_mhz = 500.0", "clock_mhz = 250"))
    architecture = space("zniber").sample(0)
    mine, shipped = cost_of(architecture, str(path)).total, cost_of(architecture, "quad-edge-tpu").total
    assert mine.latency_ms == pytest.approx(2 * shipped.latency_ms)
    assert mine.energy_mj == shipped.energy_mj > 0


def test_a_wrong_file_is_told_every_mistake_at_once(tmp_path):
    text = (_FILES / "quad-edge-tpu.toml").read_text()
    for good, bad in [
        ("clock_mhz = 500.0", "clock_mhz = -1"),
        ("mac_pj = 0.04", "mac_pj = 0.04\ncolour = 3"),
        ('name = "weight_sram"', 'name = "output_register"'),
        ('serves = ["D2"]', 'serves = ["D7"]'),
        ("bits = [64, 512]", "bits = [512, 64]"),
        ('operands = ["I", "W", "O"]', 'operands = ["I", "O"]'),
        ("D1 = { K = 8 }", "D1 = { K = 9 }"),
        ("D2 = { FX = 8 }", "D6 = { FX = 8 }"),
        ("lanes = 72\n", ""),
        ('["O th"]', '["W th"]'),
        ("cores = 4", "cores = 9"),
        ("link_pj = 3.2", "link_pj = inf"),
        ("rows = 2", 'rows = 2\ncolour = "red"'),
        ("accumulator_bits = 32", 'accumulator_bits = "32"'),
    ]:
        assert good in text
        text = text.replace(good, bad)
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(DeviceError, match=r"wrong\.toml") as caught:
        Hardware.load(path)
    problems = "\n".join(caught.value.problems)
    for part in [
        "clock_mhz: is -1",
        "array.colour: is not known here",
        "memory.2.name: 'output_register' is there twice",
        "memory.1.serves: 'D7' is no dimension of the array (D1, D2, D3, D4)",
        "memory.2.ports.0.bits: is [512, 64]; the smallest comes first",
        "memory.4.operands: the last memory is off chip and must hold W, I and O; W missing",
        "mapping.conv.D1: unrolls 9; the array has 8 there",
        "mapping.depthwise.D6: no dimension of the array",
        "pooling.lanes: is missing",
        "memory.1.ports.1.moves: 'W th' is for an operand that the memory does not hold",
        "memory.1.ports: none has O th, which O in this memory needs",
        "cores: is 9; the mesh has 2 x 2 places, so at most 4",
        "mesh.link_pj: is inf; input should be a finite number",
        "mesh.colour: is not known here",
        "accumulator_bits: is '32'; input should be a valid integer",
    ]:
        assert part in problems


@pytest.mark.parametrize(
    "good, bad, told",
    [
        ("clock_mhz = 500.0", "clock_mhz = inf", "clock_mhz: is inf; input should be a finite number"),
        ("cores = 4", "cores = 5", "cores: is 5; the mesh has 2 x 2 places, so at most 4"),
        (
            "read_pj = 700.0",
            "read_pj = 0.0",
            "mesh.offchip_pj: scales what the last memory takes, and memory.4.read_pj is",
        ),
        ("cores = 4", "cores = true", "cores: is True; input should be a valid integer"),
        ("D1 = { G = 8 }", "D1 = { K = 8 }", "mapping.depthwise: unrolls no G; a depthwise layer's channels are"),
        ("D3 = 4", 'D3 = 4 }\nsystolic = [ "D9" ] #', "array.systolic: 'D9' is no dimension of the array (D1, D2, D3)"),
        ('["O tl"]', '["O fh"]', "memory.1.ports.0.moves: 'O fh' needs a write or read_write port; this one is read"),
        ('["O fl"]', '["O tl"]', "memory.1.ports.3.moves: 'O tl' needs a read or read_write port; this one is write"),
        ('["O fl"]', '["O fh"]', "memory.1.ports: 'O fh' is there 2 times; one port has it"),
        ('["W fh"]', '["W fl"]', "memory.0.ports.1.moves: 'W fl' is none of W's, which are fh, tl"),
        ('["W fh"]', "[]", "memory.0.ports: none has W fh, which W in this memory needs"),
        ('["W tl"]', '["W up"]', "memory.0.ports.0.moves.0: is 'W up'; string should match pattern"),
        ('name = "quad-edge-tpu"', 'name = "a/b"', "name: is 'a/b'; string should match pattern"),
    ],
)
def test_each_mistake_is_named_with_its_value_and_what_is_allowed(tmp_path, good, bad, told):
    text = (_FILES / "quad-edge-tpu.toml").read_text()
    assert good in text
    path = tmp_path / "wrong.toml"
    path.write_text(text.replace(good, bad, 1))
    with pytest.raises(DeviceError, match=r"wrong\.toml") as caught:
        device(str(path))
    assert any(problem.startswith(told) for problem in caught.value.problems), caught.value.problems


def test_nothing_to_compute_with_is_a_mistake(tmp_path):
    text = (_FILES / "quad-edge-tpu.toml").read_text()
    start, end = text.index("[[memory]]"), text.index("[mapping.conv]")
    path = tmp_path / "empty.toml"
    bare = text[:start].replace("accumulator_bits = 32", "accumulator_bits = 32\nmemory = []") + text[end:]
    path.write_text(bare.replace("{ D1 = 8, D2 = 8, D3 = 4, D4 = 4 }", "{}"))
    with pytest.raises(DeviceError) as caught:
        Hardware.load(path)
    for name in ("memory", "array.sizes"):
        assert any(problem.startswith(f"{name}: is ") for problem in caught.value.problems), caught.value.problems


@pytest.mark.parametrize("name", ["quad-edge-tpu", "ethos-u55-128"])
def test_a_file_in_another_encoding_is_named(tmp_path, name):
    path = tmp_path / "other.toml"
    path.write_bytes((_FILES / f"{name}.toml").read_text().replace('about = "', 'about = "f\u00fcr ').encode("latin-1"))
    with pytest.raises(DeviceError, match=r"other\.toml") as caught:
        device(str(path))
    assert "is not UTF-8, as TOML must be (byte 0xfc in line " in caught.value.problems[0]


def test_a_file_that_is_no_toml_and_a_name_that_is_none(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("name = ")
    with pytest.raises(DeviceError, match=r"broken\.toml"):
        device(str(path))
    with pytest.raises(ValueError, match="device is 'toaster'; known are analytic, "):
        device("toaster")
    with pytest.raises(ValueError, match="describes no hardware"):
        describe("analytic")


def test_room_on_chip():
    found, half = describe("quad-edge-tpu"), 8 * 1024**2
    assert found.fits(half, half, True, True)
    assert not found.fits(half, half + 1, True, True)
    assert found.fits(2 * half, 9 * half, True, False)
    assert not found.fits(0, 2 * half + 1, False, True)


def test_the_command_line_lists_and_costs(tmp_path):
    runner = CliRunner()
    listed = runner.invoke(app, ["devices"])
    assert listed.exit_code == 0, listed.output
    assert [line.split()[0] for line in listed.output.splitlines()] == list(DEVICES)
    path = tmp_path / "a.json"
    path.write_text(space("zniber").sample(1).to_json())
    shown = runner.invoke(app, ["cost", str(path), "--device", "quad-edge-tpu"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert "uJ" in shown.output
    assert "exit 0" in shown.output
    plain = runner.invoke(app, ["cost", str(path)], env={"COLUMNS": "200"})
    assert "uJ" not in plain.output
