"""A run that trains the candidates of its search's last batches by the long schedule before it chooses."""

import json
import shutil
from pathlib import Path

import pytest

from offramp.pipeline import Run
from offramp.recipe import Recipe
from offramp.search import Evaluation
from offramp.spaces import Candidate

RECIPE = Path(__file__).with_name("tiny.toml")
OVERRIDES = [
    "search.evaluator=fine-tune", "finetune.inherit=false", "finetune.batch=64", "finetune.backbone_epochs=0",
    "finetune.joint_epochs=1", "train.inherit=false", "train.backbone_epochs=0", "train.joint_epochs=3",
    "search.proposer=nsga2", "search.evaluations=10", "search.initial=4", "search.batch=2", "search.images=100",
    "search.retrain=2", "data.limit=256", "search.baseline=false", "deliver.static_macs=[]",
    'deliver.budgets=[{ name = "best" }]', "export.check_images=20",
]  # fmt: skip


def started(folder: Path) -> Run:
    return Run.open(Recipe.load(RECIPE, OVERRIDES), folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = started(tmp_path_factory.mktemp("retrain"))
    run.search()
    evaluate, done = run.evaluator(run.recipe.train), 0

    def killed(candidate: Candidate) -> Evaluation:
        nonlocal done
        done += 1
        if done == 3:
            raise KeyboardInterrupt
        return evaluate(candidate)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "evaluator", lambda _schedule: killed)
        with pytest.raises(KeyboardInterrupt):
            run.retrain()
    assert len(run.retrained) == 2
    again = started(run.folder.root)
    again.carry_out()
    return again


def test_the_last_batches_are_trained_and_nothing_else(finished: Run) -> None:
    last = finished.study.trials[-4:]
    assert {trial.batch for trial in last} == {6, 8}
    assert [t.genotype for t in finished.retrained.trials] == [t.genotype for t in last]
    logged = [json.loads(line) for line in finished.folder.log_file.read_text().splitlines()]
    assert [line["evaluated"] for line in logged if line["event"] == "retrained"] == [2]


def test_they_were_trained_by_the_long_schedule(finished: Run) -> None:
    trial = finished.retrained.trials[0]
    assert finished.evaluator(finished.recipe.train)(trial.candidate).metrics == trial.metrics
    accuracy = {t.genotype: t.metrics["accuracy"] for t in finished.study.trials}
    gained = [t.metrics["accuracy"] - accuracy[t.genotype] for t in finished.retrained.trials]
    assert sum(gained) > 0


def test_the_network_is_chosen_among_them(finished: Run) -> None:
    chosen = finished.choice.of(finished.study, finished.retrained)[0].candidate
    assert chosen in [trial.candidate for trial in finished.retrained.trials]
    metrics = json.loads((finished.folder.chosen("best") / "metrics.json").read_text())
    kept = json.loads((finished.folder.chosen("best") / "architecture.json").read_text())["stages"]
    whole = chosen.architecture.model_dump(mode="json")["stages"]
    assert [stage["blocks"] for stage in kept] == [stage["blocks"] for stage in whole[: len(kept)]]
    assert metrics["seed"] == 0


def test_the_front_file_tells_them_apart(finished: Run) -> None:
    trials = json.loads(finished.folder.front.read_text())["trials"]
    assert [t["study"] for t in trials].count("retrained") == 4
    assert finished.folder.report.exists()


def test_a_longer_search_has_its_new_last_batches_trained(finished: Run, tmp_path: Path) -> None:
    shutil.copytree(finished.folder.root, tmp_path / "longer")
    longer = Run.open(Recipe.load(RECIPE, [*OVERRIDES, "search.evaluations=12"]), tmp_path / "longer")
    longer.search()
    longer.retrain()
    trained = {trial.genotype for trial in longer.retrained.trials}
    assert {trial.genotype for trial in longer.study.trials[-4:]} <= trained
    assert len(longer.retrained) == len(finished.retrained) + 2


def test_started_again_it_changes_nothing(finished: Run) -> None:
    before = finished.folder.journal.read_bytes()
    started(finished.folder.root).retrain()
    assert finished.folder.journal.read_bytes() == before
