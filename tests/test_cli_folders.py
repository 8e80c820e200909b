"""What the commands on networks say of a run's folder, a delivered one and any other."""

import json
import shutil
import signal
import sys

import pytest
from typer.testing import CliRunner

from offramp.cli import app, main
from offramp.nn import build
from offramp.spaces import space


@pytest.fixture
def network(tmp_path):
    """The folder of a delivered network, as far as its cost needs it."""
    folder = tmp_path / "run" / "chosen" / "small"
    folder.mkdir(parents=True)
    (folder.parents[1] / "recipe.toml").touch()
    (folder / "architecture.json").write_text(space("offramp", (1, 16, 16), 4).sample(3).to_json())
    (folder / "metrics.json").touch()
    return folder


def refused(arguments, monkeypatch, capsys):
    """What the command line says of what it cannot do."""
    monkeypatch.setattr(sys, "argv", ["offramp", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    return capsys.readouterr().err


def test_cost_takes_the_folder_of_a_network(network):
    def said(path):
        return json.loads(CliRunner().invoke(app, ["cost", str(path), "--json"]).stdout)

    assert said(network) == said(network / "architecture.json")


COMMANDS = [["evaluate"], ["export", "--tflite", "out"], ["predict", "MODEL", "a.png"], ["cost"]]
FILES = ["metrics.json", "architecture.json", "model.onnx", "architecture.json"]


@pytest.mark.parametrize("command, file", [*zip(COMMANDS, FILES)])
def test_a_folder_without_a_network_is_told_what_it_is(command, file, network, tmp_path, monkeypatch, capsys):
    def said(folder):
        given = [str(folder) if part == "MODEL" else part for part in command]
        return refused(given if given != command else [*command, folder], monkeypatch, capsys)

    run = network.parents[1]
    (network / "model.onnx").touch()
    assert f"{run / file} is not there" in said(run)
    assert f"{run} is the folder of a run; give that of a network in it: {network}" in said(run)
    (network / "metrics.json").unlink()
    assert f"{run} is the folder of a run, in which no network is delivered yet" in said(run)
    assert f"{tmp_path} holds no delivered network; give DIR/chosen/NAME of a run" in said(tmp_path)


@pytest.mark.parametrize("below", ["", "/sub", "/sub/sub"])
def test_run_is_told_that_out_is_a_file(below, tmp_path, monkeypatch, capsys):
    (tmp_path / "notes").touch()
    out = f"{tmp_path / 'notes'}{below}"
    said = refused(["run", "digits", "--out", out], monkeypatch, capsys)
    expected = f"the run's folder would be {out}, but {tmp_path / 'notes'} is a file; give --out another folder"
    assert said == f"error: {expected}\n"


@pytest.mark.parametrize("becomes", [KeyboardInterrupt, ImportError, RuntimeError])
def test_ctrl_c_says_how_to_go_on_whatever_it_has_become(becomes, tmp_path, monkeypatch):
    def loads_a_library(*_given):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise becomes("numpy.core.multiarray failed to import") from None

    monkeypatch.setattr("offramp.pipeline.run", loads_a_library)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in jobs of a shell's background
    try:
        ended = CliRunner().invoke(app, ["run", "digits", "--out", str(tmp_path / "run")])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.exit_code == 130
    assert ended.stderr == "Stopped. The same command goes on from here.\n"


def test_an_error_without_ctrl_c_stays_what_it_is(tmp_path, monkeypatch):
    def breaks(*_given):
        raise ImportError("no such library")

    monkeypatch.setattr("offramp.pipeline.run", breaks)
    with pytest.raises(ImportError, match="no such library"):
        CliRunner().invoke(app, ["run", "digits", "--out", str(tmp_path / "run")], catch_exceptions=False)


@pytest.mark.parametrize("command", [["evaluate"], ["quantize"]])
def test_a_network_away_from_its_run_is_told_so(command, network, tmp_path, monkeypatch, capsys):
    (network / "metrics.json").write_text('{"splits": {"test": 3}, "classes": [], "mac_rule": "paper", "seed": 0}')
    monkeypatch.setattr(
        "offramp.deliver.load", lambda folder: (build(space("offramp", (1, 16, 16), 4).smallest()), None)
    )
    monkeypatch.setattr(
        "offramp.few_bits.load", lambda folder: (build(space("offramp", (1, 16, 16), 4).smallest()), None)
    )
    alone = shutil.copytree(network, tmp_path / "alone")
    said = refused([*command, alone], monkeypatch, capsys)
    assert "is not the folder of a run; a delivered network needs its run here, so give it as DIR/chosen/NAME" in said


@pytest.mark.parametrize("option", ["--lost", "--accuracy", "--confidence"])
@pytest.mark.parametrize("share", ["0", "1", "-2", "nan"])
def test_a_share_without_a_promise_is_named(option, share, network, monkeypatch, capsys):
    said = refused(["guarantee", network, option, share], monkeypatch, capsys)
    assert f"{option} is {share}; it must lie between 0 and 1" in said
