"""A run whose candidates are trained one by one, with everything that the search can be told."""

import json
from pathlib import Path

import pytest

from offramp.pipeline import Run
from offramp.recipe import Recipe

RECIPE = Path(__file__).with_name("tiny.toml")
OVERRIDES = [
    "search.evaluator=fine-tune", "finetune.inherit=false", "finetune.batch=64", "finetune.backbone_epochs=0",
    "finetune.joint_epochs=1", "train.inherit=false", "train.backbone_epochs=0", "train.joint_epochs=1",
    "search.surrogate=auto", "search.domination=penalty", "search.evaluations=10", "search.initial=6",
    "search.batch=3", "search.images=100", "data.limit=256", "search.baseline=false", "deliver.static_macs=[]",
    'deliver.budgets=[{ name = "best" }]', "export.check_images=20",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = Run.open(Recipe.load(RECIPE, OVERRIDES), tmp_path_factory.mktemp("fine-tune"))
    run.carry_out()
    return run


def events(run, name):
    lines = map(json.loads, run.folder.log_file.read_text().splitlines())
    return [line for line in lines if line["event"] == name]


def test_no_supernet_is_trained_where_nothing_needs_one(finished):
    assert not finished.folder.supernet.exists()
    assert events(finished, "supernet") == []
    assert "supernet" not in events(finished, "start")[0]["steps"]
    assert (finished.folder.chosen("best") / "model.onnx").exists()
    assert finished.folder.report.exists()


def test_front_says_which_evaluator_it_was(finished):
    front = json.loads(finished.folder.front.read_text())
    assert front["evaluator"] == "fine-tune"
    assert front["n"] == 100
    assert len(front["trials"]) == 10
    assert not any(trial["failure"] for trial in front["trials"])


def test_evaluating_a_candidate_again_gives_what_the_study_holds(finished):
    trial = finished.study.trials[4]
    assert finished.evaluator()(trial.candidate).metrics == trial.metrics


def test_the_log_tells_the_surrogates_of_every_batch(finished):
    found = events(finished, "surrogates")
    assert [line["trials"] for line in found] == [6, 9]
    for line in found:
        assert 0 <= line["phi"]["mean_macs"] <= 1
        for metric in ("error", "mean_macs"):
            chosen = line["surrogates"][metric]
            assert set(chosen["models"]) == {"gp", "rbf", "trees", "mlp"}
            assert -1 <= chosen["tau"] <= 1


def test_started_again_it_changes_nothing(finished):
    before = finished.folder.journal.read_bytes()
    again = Run.open(Recipe.load(RECIPE, OVERRIDES), finished.folder.root)
    again.search()
    assert finished.folder.journal.read_bytes() == before
