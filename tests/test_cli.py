import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from offramp.architecture import Architecture
from offramp.cli import app, main
from offramp.cost import cost
from offramp.recipe import shipped


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
