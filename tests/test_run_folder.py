import json

import pytest

from offramp.run_folder import RunFolder, delivered_file, identity, read_json, write_json


def test_identity_tells_parts_apart_and_ignores_key_order():
    assert identity({"a": 1, "b": 2}, 3) == identity({"b": 2, "a": 1}, 3)
    assert identity({"a": 1}, 3) != identity({"a": 1}, 4)


def test_a_refused_value_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="nan"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}


def test_log_lines_are_appended(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.log("start", x=1)
    folder.log("end")
    lines = [json.loads(line) for line in folder.log_file.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["start", "end"]
    assert lines[0]["x"] == 1


def test_only_finished_networks_are_delivered(tmp_path):
    folder = RunFolder(tmp_path)
    for name in ("a", "b"):
        folder.chosen(name).mkdir(parents=True)
    (folder.chosen("b") / "metrics.json").write_text("{}")
    assert folder.delivered() == [folder.chosen("b")]


def test_a_missing_file_of_a_network_is_named_with_what_to_give_instead(tmp_path):
    run = RunFolder(tmp_path / "run")

    def said(folder, name="model.onnx"):
        with pytest.raises(FileNotFoundError) as caught:
            delivered_file(folder, name)
        assert str(caught.value).startswith(f"{folder / name} is not there: ")
        return str(caught.value)

    for name in ("a", "b", "b-seed1"):
        run.chosen(name).mkdir(parents=True)
    repeat = run.chosen("b-seed1")
    assert "holds no delivered network; give DIR/chosen/NAME of a run" in said(run.root)
    run.recipe.touch()
    assert "is the folder of a run, in which no network is delivered yet" in said(run.root)
    assert "is not finished; start `offramp run` again" in said(run.chosen("a"))
    for folder in (run.chosen("b"), repeat):
        (folder / "metrics.json").touch()
    (run.chosen("b") / "model.onnx").touch()
    assert said(run.root).endswith(f"give that of a network in it: {run.chosen('b')}")
    assert said(run.root, "metrics.json").endswith(f"in it: {run.chosen('b')}, {repeat}")
    assert "delivered without it: of several seeds only the first is exported" in said(repeat)
    assert delivered_file(run.chosen("b"), "model.onnx") == run.chosen("b") / "model.onnx"


def test_a_file_is_read_whole_or_named(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    assert read_json(path, ("a",)) == {"a": 1}
    with pytest.raises(ValueError, match=r"x\.json is damaged \(no b, c in it\)"):
        read_json(path, ("a", "b", "c"))
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"x\.json is damaged"):
        read_json(path)


def test_two_runs_do_not_share_a_folder(tmp_path):
    mine, yours = RunFolder(tmp_path / "mine"), RunFolder(tmp_path / "yours")
    told = r"another run is at work in .*mine; .* another --out"
    with mine.held():
        with pytest.raises(RuntimeError, match=told), RunFolder(mine.root).held():
            pass
        with yours.held():
            pass
    with mine.held():
        pass
