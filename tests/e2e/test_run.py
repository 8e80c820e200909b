"""The real command line on real images, from data to files."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from offramp import data
from offramp.architecture import Architecture
from offramp.cost import cost
from offramp.deliver import load
from offramp.pipeline import Run
from offramp.policy import ScoreTable, operate
from offramp.recipe import Recipe, RecipeError
from offramp.run_folder import RunFolder

RECIPE = Path(__file__).with_name("tiny.toml")
COMMAND = [sys.executable, "-m", "offramp", "run", str(RECIPE), "--out"]
# A locale without UTF-8, as on many a Windows: what a run writes must not depend on it.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def offramp(*arguments):
    command = [sys.executable, "-m", "offramp", *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    done = subprocess.run([*COMMAND, str(folder)], env=ENVIRONMENT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_folder_holds_what_is_promised(finished):
    for name in ("recipe.toml", "study.journal", "supernet.safetensors", "front.json", "report.html", "log.jsonl"):
        assert (finished / name).stat().st_size > 0
    for name in ("architecture.json", "weights.safetensors", "policy.json", "metrics.json", "model.onnx"):
        assert (finished / "chosen" / "small" / name).stat().st_size > 0
    assert not (finished / "supernet.checkpoint").exists()
    modes = {(finished / name).stat().st_mode for name in ("recipe.toml", "supernet.safetensors")}
    assert len(modes) == 1  # who may read the one may read the other


@pytest.mark.parametrize("name", ["small", "best", "static-60k"])
def test_metrics_follow_from_the_files_beside_them(finished, name):
    folder = finished / "chosen" / name
    metrics = json.loads((folder / "metrics.json").read_text())
    net, policy = load(folder)
    table = ScoreTable.load(folder / "test_scores.npz")
    found = operate(policy, table, cost(net.architecture).leaving("macs", metrics["mac_rule"]))
    assert metrics["test_accuracy"] == found.accuracy
    assert metrics["mean_macs"] == found.mean_cost
    assert metrics["utilisation"] == list(found.utilisation)
    assert metrics["splits"] == {"train": 988, "select": 270, "calibrate": 180, "test": 359}
    assert len(table.labels) == 359
    assert metrics["test_accuracy"] > 0.5  # chance is 0.1


def test_a_budget_of_its_own_sets_the_thresholds(finished):
    metrics = json.loads((finished / "chosen" / "small" / "metrics.json").read_text())
    assert metrics["select"]["mean_macs"] <= 4e4


def test_no_delivered_early_exit_is_idle_on_select(finished):
    for folder in (finished / "chosen").iterdir():
        curve = json.loads((folder / "curve.json").read_text())
        exits = Architecture.load(folder / "architecture.json").exits
        assert all(len(point["thresholds"]) == len(exits) - 1 for point in curve)


def test_the_exported_file_gives_what_the_table_says(finished):
    folder = finished / "chosen" / "small"
    _, policy = load(folder)
    table, test = ScoreTable.load(folder / "test_scores.npz"), data.task("digits").test
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    exits = policy.decide(table)
    for i in range(100):
        given = {"image": test.images[i : i + 1].numpy().astype(np.float32)}
        if policy.thresholds:
            given["thresholds"] = np.array(policy.thresholds, np.float32)
        logits, taken = session.run(["logits", "exit"], given)
        assert int(taken) == exits[i]
        np.testing.assert_allclose(logits[0], table.logits[i, exits[i]], atol=1e-3)


def test_front_lists_feasible_trials_only(finished):
    found = json.loads(offramp("front", finished, "--json").stdout)
    assert found["front"]
    assert all(trial["metrics"]["mean_macs"] <= 6e4 for trial in found["front"])
    assert found["split"] == "select"


def test_evaluate_reads_an_npz(finished, tmp_path):
    test = data.task("digits").test
    np.savez(tmp_path / "test.npz", images=test.images.permute(0, 2, 3, 1).numpy(), labels=test.labels.numpy())
    found = json.loads(
        offramp("evaluate", finished / "chosen" / "small", "--data", tmp_path / "test.npz", "--json").stdout
    )
    metrics = json.loads((finished / "chosen" / "small" / "metrics.json").read_text())
    assert found["accuracy"] == metrics["test_accuracy"]
    assert found["mean_macs"] == metrics["mean_macs"]


def test_evaluate_knows_the_run_s_own_splits(finished):
    folder = finished / "chosen" / "small"
    metrics = json.loads((folder / "metrics.json").read_text())
    test = json.loads(offramp("evaluate", folder, "--json").stdout)
    select = json.loads(offramp("evaluate", folder, "--data", "select", "--json").stdout)
    assert test["accuracy"] == metrics["test_accuracy"]
    assert select["accuracy"] == metrics["select"]["accuracy"]
    refused = offramp("evaluate", folder, "--data", "nowhere")
    assert refused.returncode == 1
    assert "train, select, calibrate, test" in refused.stderr


def test_predict_reads_image_files(finished, tmp_path):
    test = data.task("digits").test
    paths = [tmp_path / f"{i}.png" for i in range(20)]
    for i, path in enumerate(paths):
        Image.fromarray(test.images[i, 0].numpy()).save(path)
    found = json.loads(offramp("predict", finished / "chosen" / "small" / "model.onnx", *paths, "--json").stdout)
    folder = finished / "chosen" / "small"
    table, policy = ScoreTable.load(folder / "test_scores.npz"), load(folder)[1]
    exits = policy.decide(table)[:20]
    assert [f["exit"] for f in found] == exits.tolist()
    assert [f["class_index"] for f in found] == table.predictions[np.arange(20), exits].tolist()


def test_a_finished_run_changes_nothing_when_started_again(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    before = (folder / "study.journal").read_bytes()
    Run.open(Recipe.load(RECIPE), folder).carry_out()
    assert (folder / "study.journal").read_bytes() == before
    for name in ("small", "best"):
        metrics = f"chosen/{name}/metrics.json"
        assert (folder / metrics).read_bytes() == (finished / metrics).read_bytes()


def test_a_folder_refuses_another_recipe_and_names_the_difference(finished):
    with pytest.raises(RecipeError, match=r"supernet.epochs: 4 then, 5 now"):
        Run.open(Recipe.load(RECIPE, ["supernet.epochs=5"]), finished)


def test_the_search_cannot_reach_test_or_calibrate(finished):
    handed = Run(Recipe.load(RECIPE), finished).task.without_test()
    assert not hasattr(handed, "test")
    assert not hasattr(handed, "calibrate")


def genotypes(folder):
    """Study -> genotypes of its recorded trials, read from the journal as it lies on disk."""
    text = (folder / "study.journal").read_text() if (folder / "study.journal").exists() else ""
    found = []
    for line in text.split("\n")[:-1]:
        record = json.loads(line)
        if record.get("user_attrs", {}).get("genotype") is not None:
            found.append((record["study_id"], tuple(record["user_attrs"]["genotype"])))
    return found


def progress(folder):
    """Changes with every trial and every epoch of a training, and with nothing that a starting process does."""
    written = []
    for file in [folder / "supernet.checkpoint", *RunFolder(folder).trainings()]:
        with contextlib.suppress(FileNotFoundError):  # they come and go
            written.append((file, file.stat().st_mtime_ns))
    return len(genotypes(folder)), written


def at_work_on(folder):
    """The step that a run was stopped in."""
    if not (folder / "supernet.safetensors").exists():
        return "supernet"
    if not (folder / "front.json").exists():
        return "search"
    done = folder.glob("chosen/*/weights.safetensors")
    last, delivered = (
        max((file.stat().st_mtime_ns for file in found), default=0) for found in (RunFolder(folder).trainings(), done)
    )
    return "training" if last > delivered else "delivery"


def test_a_run_stopped_anywhere_in_its_work_ends_as_if_it_had_not_been(finished, tmp_path):
    folder, rng, stopped, interrupted = tmp_path / "stopped", random.Random(5), [], False
    for _ in range(24):
        process = subprocess.Popen(
            [*COMMAND, str(folder)], env=ENVIRONMENT, stderr=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in jobs of a shell's background
        )  # fmt: skip
        before, seen, changes = genotypes(folder), progress(folder), rng.randint(1, 4)
        while process.poll() is None and changes:
            time.sleep(0.01)
            now = progress(folder)
            changes, seen = changes - (now != seen), now
        time.sleep(rng.uniform(0, 0.1))
        if process.poll() is None:
            gently = at_work_on(folder) == "search" and not interrupted
            os.killpg(process.pid, signal.SIGINT if gently else signal.SIGKILL)
            assert process.wait(timeout=120) == (130 if gently else -signal.SIGKILL)
            interrupted |= gently
            stopped.append(at_work_on(folder))
        after = genotypes(folder)
        assert after[: len(before)] == before  # nothing finished is lost
        assert len(set(after)) == len(after)  # nor done twice
        if process.returncode == 0:
            break
    done = subprocess.run([*COMMAND, str(folder)], env=ENVIRONMENT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert interrupted
    assert stopped.count("search") >= 2, stopped  # the interrupt, and a kill
    assert stopped.count("training") >= 2, stopped
    assert genotypes(folder) == genotypes(finished)
    for name in ("small", "best"):
        found, expected = (json.loads((f / "chosen" / name / "metrics.json").read_text()) for f in (folder, finished))
        assert found["test_accuracy"] == pytest.approx(expected["test_accuracy"], abs=0.02)
