import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from offramp.architecture import Architecture
from offramp.cli import app, main
from offramp.cost import cost
from offramp.cost.tables import Built
from offramp.layers import layers
from offramp.recipe import shipped
from offramp.spaces import space


def call(*arguments):
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def architecture(tmp_path):
    path = tmp_path / "architecture.json"
    path.write_text(call("sample", "offramp", "--seed", "3", "--input", "1x16x16", "--classes", "4").stdout)
    return path


def test_help_and_light_commands_import_neither_torch_nor_optuna():
    commands = [["--help"], ["recipes"], ["validate", "digits"], ["sample", "offramp"], ["devices"]]
    script = f"""
import sys
from typer.testing import CliRunner
from offramp.cli import app
for arguments in {commands!r}:
    assert CliRunner().invoke(app, arguments).exit_code == 0, arguments
    assert not {{"torch", "optuna", "sklearn", "pymoo"}} & set(sys.modules), arguments
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_sample_is_an_architecture_of_the_asked_shape(architecture):
    found = Architecture.load(architecture)
    assert found.input == (1, 16, 16)
    assert found.classes == 4


def test_sample_smallest_is_cheaper_than_largest():
    ends = [Architecture.from_json(call("sample", "offramp", f"--{end}").stdout) for end in ("smallest", "largest")]
    assert cost(ends[0]).total.macs < cost(ends[1]).total.macs


def test_cost_agrees_with_the_library(architecture):
    found = json.loads(call("cost", str(architecture), "--json").stdout)
    expected = cost(Architecture.load(architecture))
    assert found["total"]["macs"] == expected.total.macs
    assert found["macs_by_exit"]["executed"] == list(expected.leaving())
    assert f"{expected.total.macs / 1e6:.3f}" in call("cost", str(architecture)).stdout


def test_init_prints_a_recipe_that_validates(tmp_path):
    text = call("init", "digits").stdout
    assert text == shipped()["digits"].read_text()
    (tmp_path / "my.toml").write_text(text)
    assert call("validate", str(tmp_path / "my.toml")).exit_code == 0


def test_recipes_are_listed_with_what_they_are_about():
    lines = call("recipes").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped())
    (digits,) = (line for line in lines if line.startswith("digits "))
    assert "scikit-learn's handwritten digits" in digits


def test_a_table_is_built_for_every_layer_of_a_space_once(tmp_path, monkeypatch):
    asked = []

    def build_table(hardware, wanted, workers, on_chip_only, path):
        asked.extend(wanted)
        return Built(path, len(asked), 1234)

    monkeypatch.setattr(sys.modules["offramp.cost"], "build_table", build_table)  # ZigZag would take hours
    out = tmp_path / "table.json"
    done = call("devices", "build", "edge-tpu", "--samples", "5", "--input", "1x16x16", "--out", str(out))
    assert done.stdout == f"{out}: {len(asked)} entries computed, 1,234 in all\n"
    found = space("offramp", (1, 16, 16), 10)
    networks = [*found.cover(), found.smallest(), found.largest(), *map(found.sample, range(5))]
    needed = {item[1:] for n in networks for stage in layers(n) for item in (*stage.backbone, *stage.branch)}
    assert len(asked) == len(needed) < 1000
    assert {item[1:] for item in asked} == needed


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["validate", "nothing"], "known are"),
        (["validate", "digits", "--set", "search.proposer=guess"], "search.proposer: 'guess' is unknown"),
        (["sample", "elsewhere"], "known are offramp"),
        (["sample", "offramp", "--input", "32x32"], "3x32x32"),
        (["sample", "offramp", "--smallest", "--largest"], "exclude each other"),
        (["cost", "ARCHITECTURE", "--device", "abacus"], "known are analytic"),
        (["front", "FOLDER"], "the search has not ended"),
        (["predict", "no.onnx", "no.png"], "no such file"),
        (["export", "FOLDER", "--tflite", "out", "--device", "quad-edge-tpu"], "no NPU"),
    ],
)
def test_errors_end_with_a_message_and_no_traceback(arguments, message, architecture, tmp_path, monkeypatch, capsys):
    places = {"ARCHITECTURE": str(architecture), "FOLDER": str(tmp_path)}
    monkeypatch.setattr(sys, "argv", ["offramp", *(places.get(a, a) for a in arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
