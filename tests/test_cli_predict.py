"""`offramp predict`: which images, which model, which thresholds."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from offramp.architecture import Architecture, Branch, Conv, Stage
from offramp.cli import main
from offramp.export import Model, export_onnx
from offramp.nn import build
from offramp.policy import Policy

CLASSES = ("cat", "dog", "eel")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A delivered folder, its network of three exits."""
    folder = tmp_path_factory.mktemp("run") / "chosen" / "small"
    folder.mkdir(parents=True)
    save(folder / "model.onnx", exits=3)
    return folder


def save(path, exits):
    net = build(Architecture(input=(1, 8, 8), classes=3, stages=(Stage(blocks=(Conv(out=4),), exit=Branch()),) * exits))
    images = torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    export_onnx(net.eval(), Policy("margin", (0.9, 0.8)[: exits - 1]), path, classes=CLASSES, images=images)


@pytest.fixture
def photos(tmp_path):
    """Two readable images, one damaged, one of another kind and a file that is none, in folders."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for i, name in enumerate(("a.png", "deep/c.JPG")):
        Image.fromarray(np.full((8, 8), 90 * i, np.uint8)).save(folder / name)
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:40])
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def offramp(monkeypatch, capsys):
    def call(*arguments):
        """Exit status, stdout and stderr."""
        monkeypatch.setattr(sys, "argv", ["offramp", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code or 0, *capsys.readouterr()

    return call


def test_an_unreadable_image_does_not_spoil_the_others(network, photos, offramp):
    names = [photos / "b.png", photos / "a.png", photos / "none.png", photos / "deep" / "c.JPG"]
    status, out, err = offramp("predict", network / "model.onnx", *names)
    assert status == 1
    assert str(names[1]) in out
    assert str(names[3]) in out
    assert err.startswith("error: 2 of 4 images cannot be read. Replace or remove them:\n")
    assert f"  {names[0]}: not a readable image (" in err
    assert f"  {names[2]}: no such file\n" in err


def test_json_tells_the_reason_in_the_image_s_place(network, photos, offramp):
    names = [photos / "none.png", photos / "a.png"]
    status, out, err = offramp("predict", network / "model.onnx", *names, "--json")
    assert status == 1
    bad, good = json.loads(out)
    assert bad == {"image": str(names[0]), "error": "no such file"}
    assert good == {"image": str(names[1]), **Model(network / "model.onnx").predict(names[1])._asdict()}
    assert err == f"error: {names[0]}: no such file.\n"


def test_a_table_without_rows_is_not_printed(network, offramp):
    assert offramp("predict", network / "model.onnx", "none.png") == (1, "", "error: none.png: no such file.\n")


def test_a_folder_stands_for_the_images_inside(network, photos, offramp):
    status, out, _ = offramp("predict", network / "model.onnx", photos, photos / "a.png", "--json")
    assert status == 1
    found = [entry["image"] for entry in json.loads(out)]
    assert found == [str(photos / name) for name in ("a.png", "b.png", "deep/c.JPG", "a.png")]
    (photos / "b.png").unlink()
    assert offramp("predict", network / "model.onnx", photos)[::2] == (0, "")


def test_a_folder_without_images_is_named(network, photos, offramp):
    (photos / "empty").mkdir()
    status, out, err = offramp("predict", network / "model.onnx", photos / "a.png", photos / "empty")
    assert (status, out) == (1, "")
    assert f"{photos / 'empty'}: no images in this folder. Images end in .bmp" in err


def test_a_delivered_folder_stands_for_its_model(network, photos, offramp):
    of_folder = offramp("predict", network, photos / "a.png")
    assert of_folder == offramp("predict", network / "model.onnx", photos / "a.png")
    assert of_folder[0] == 0


@pytest.mark.parametrize(
    "thresholds, exit", [("-1,0.5", 0), ("2, -1e60", 1), ("2,2", 2), ("2,-inf", 1), ('(2, float("inf"),)', 2)]
)
def test_thresholds_are_those_given(thresholds, exit, network, photos, offramp):
    _, out, _ = offramp("predict", network, photos / "a.png", "--json", "--thresholds", thresholds)
    assert json.loads(out)[0]["exit"] == exit


@pytest.mark.parametrize("thresholds", ["0.5", "0.5,0.6,0.7", "0.5,nan", "0.5;0.6", "", "0.5,", "nine,0.5"])
def test_wrong_thresholds_are_told_what_is_allowed(thresholds, network, photos, offramp):
    status, out, err = offramp("predict", network, photos / "a.png", "--thresholds", thresholds)
    assert (status, out) == (1, "")
    assert err == (
        f"error: --thresholds is '{thresholds}'; it must be numbers (inf: nobody leaves there) with commas "
        f"between, 2 in all, one for each early exit of {network / 'model.onnx'} (its own: 0.9,0.8)\n"
    )


def test_one_exit_has_no_thresholds(photos, offramp):
    save(photos / "static.onnx", exits=1)
    _, _, err = offramp("predict", photos / "static.onnx", photos / "a.png", "--thresholds", "0.5")
    assert err == f"error: --thresholds is '0.5', but {photos / 'static.onnx'} has no early exit; leave it out\n"


@pytest.mark.parametrize("name", ["a.png", "notes.txt"])
def test_another_file_is_told_that_a_model_is_wanted(name, photos, offramp):
    _, _, err = offramp("predict", photos / name, photos / "a.png")
    start = f"error: {photos / name}: not an ONNX file that can be read. Give the model.onnx of a run, or"
    assert err.startswith(start)
