import os

import pytest
import torch

from offramp.training import _checkpoint
from offramp.training._checkpoint import CheckpointError, load, save

STATE = {"weights": {"a": torch.arange(5.0)}, "losses": [1.5, 0.5]}


def test_what_was_saved_comes_back(tmp_path):
    path = tmp_path / "deep" / "checkpoint"
    assert load(path, "mine") is None
    save(path, STATE, "mine")
    found = load(path, "mine")
    assert found is not None
    assert torch.equal(found["weights"]["a"], STATE["weights"]["a"])
    assert found["losses"] == [1.5, 0.5]
    assert os.listdir(path.parent) == ["checkpoint"]


def test_another_training_s_checkpoint_is_refused_and_kept(tmp_path):
    save(tmp_path / "checkpoint", STATE, "mine")
    with pytest.raises(
        CheckpointError, match=r"checkpoint was written for other settings or data \(mine; now yours\).*--out"
    ):
        load(tmp_path / "checkpoint", "yours")
    assert load(tmp_path / "checkpoint", "mine") is not None


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_cut_file_is_named(tmp_path, share):
    path = tmp_path / "checkpoint"
    save(path, STATE, "mine")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"checkpoint cannot be read .*delete it to train anew"):
        load(path, "mine")


@pytest.mark.parametrize("content", [{"weights": 3}, [1, 2], 3])
def test_a_file_of_another_kind_is_named(tmp_path, content):
    torch.save(content, tmp_path / "checkpoint")
    with pytest.raises(CheckpointError, match="checkpoint cannot be read"):
        load(tmp_path / "checkpoint", "mine")


def test_a_save_killed_half_way_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint"
    save(path, STATE, "mine")

    def killed(state, file):
        with open(file, "wb") as half:
            half.write(b"half a file")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_checkpoint.torch, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            save(path, STATE | {"losses": []}, "mine")
    assert len(os.listdir(tmp_path)) == 2
    found = load(path, "mine")
    assert found is not None
    assert found["losses"] == [1.5, 0.5]
    save(path, STATE | {"losses": [9.0]}, "mine")
    found = load(path, "mine")
    assert found is not None
    assert found["losses"] == [9.0]
    assert os.listdir(tmp_path) == ["checkpoint"]
