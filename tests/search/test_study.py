import json
from pathlib import Path

import numpy as np
import optuna
import pytest
import synthetic_networks as synthetic

from offramp.search import Evaluation, Failure, Problem, Study, StudyError, analytic_costs
from offramp.search.sampling import draw
from offramp.spaces import space

CONSTRAINTS = ("params <= 9000", "accuracy >= 0.3")


def fill(study: Study, count: int, seed: int = 0) -> None:
    seen = {trial.genotype for trial in study.trials}
    for genotype in draw(study.problem, count, np.random.default_rng(seed), seen):
        study.record(genotype, synthetic.evaluate(study.problem.space.decode(genotype)), "test")


def test_what_is_recorded_is_read_again(open_study, small) -> None:
    study = open_study(small, CONSTRAINTS)
    fill(study, 5)
    genotype = draw(study.problem, 1, np.random.default_rng(9))[0]
    failed = study.record(genotype, Failure("ValueError: no"), "test", batch=3)
    again = open_study(small, CONSTRAINTS)
    assert again.trials == study.trials
    assert again.trials[5] == failed
    assert [failed.number, failed.batch, failed.evaluation, failed.feasible] == [5, 3, None, False]
    assert again.trials[0].evaluation.extra["utilisation"]
    assert all(small.encode(trial.candidate) == trial.genotype for trial in again.trials)


def test_every_kind_of_gene(open_study, toy) -> None:
    study = open_study(toy)
    fill(study, toy.size(), seed=1)
    again = open_study(toy)
    assert again.trials == study.trials
    assert len(again) == toy.size()
    params = again._stored.trials[3].params
    assert params["pool"] in ("avg", "max")
    assert params["deep"] in (False, True)
    assert params["kernels"] in (0, 1)  # a tuple is shown by its index


def test_optuna_reads_the_same_front(open_study, small, tmp_path) -> None:
    fill(open_study(small, ("error <= 0.25",)), 40)
    study = open_study(small, ("error <= 0.25",))
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.journal"))
    )
    stored = optuna.load_study(study_name="test", storage=storage)
    assert 0 < sum(trial.feasible for trial in study.trials) < 40
    assert {trial.number for trial in stored.best_trials} == {trial.number for trial in study.front()}
    assert stored.metric_names == ["error", "mean_macs"]
    one = stored.trials[7]
    assert one.constraints == study.problem.violations(study.trials[7].metrics)
    assert json.loads(one.user_attrs["architecture"])["classes"] == 10
    assert one.params == small.values(study.trials[7].genotype)


def test_front_is_sorted_and_of_the_feasible_only(open_study, small) -> None:
    study = open_study(small, ("error <= 0.25",))
    fill(study, 40)
    errors = [trial.metrics["error"] for trial in study.front()]
    macs = [trial.metrics["mean_macs"] for trial in study.front()]
    assert errors == sorted(errors)
    assert macs == sorted(macs, reverse=True)
    assert max(errors) <= 0.25 < max(trial.metrics["error"] for trial in study.trials)


def test_hypervolume_knows_the_direction(open_study, small) -> None:
    fill(study := open_study(small), 20)
    other = open_study(small, file="other", objectives=("accuracy", "mean_macs"))
    for trial in study.trials:
        other.record(trial.genotype, trial.evaluation, "test")
    found = study.hypervolume({"error": 1.0, "mean_macs": 1e7})
    assert found > 0
    assert other.hypervolume({"accuracy": 0.0, "mean_macs": 1e7}) == pytest.approx(found)
    assert {t.number for t in other.front()} == {t.number for t in study.front()}
    assert {t.number for t in other._stored.best_trials} == {t.number for t in study.front()}


def test_seen_is_by_canonical_genotype(open_study, toy) -> None:
    study = open_study(toy)
    study.record((0, 0, 3, 0, 0, 0, 0), synthetic.evaluate(toy.decode((0, 0, 3, 0, 0, 0, 0))), "test")
    assert study.seen((0, 0, 1, 0, 0, 0, 0))  # gene "second" is inactive
    assert not study.seen((0, 1, 1, 0, 0, 0, 0))
    with pytest.raises(ValueError, match="evaluated before, in trial 0"):
        study.record((0, 0, 2, 0, 0, 0, 0), Failure("x"), "test")


def test_an_evaluation_must_have_the_objectives(open_study, toy) -> None:
    study = open_study(toy, ("params <= 9",))
    with pytest.raises(ValueError, match="lacks mean_macs; it has error"):
        study.record((0,) * 7, Evaluation({"error": 1.0}), "test")
    with pytest.raises(ValueError, match="needs params"):
        study.record((0,) * 7, Evaluation({"error": 1.0, "mean_macs": 1.0}), "test")
    assert len(open_study(toy, ("params <= 9",))) == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_metrics_are_finite(bad: float) -> None:
    with pytest.raises(ValueError, match=r"not finite.*error"):
        Evaluation({"error": bad})


def test_opening_again_writes_nothing(open_study, toy, tmp_path: Path) -> None:
    fill(open_study(toy), 2)
    before = (tmp_path / "study.journal").read_bytes()
    open_study(toy)
    assert (tmp_path / "study.journal").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["study.journal"]  # no lock is left lying


def test_two_processes_share_a_study(open_study, small) -> None:
    one, other = open_study(small), open_study(small)
    fill(one, 3)
    other.refresh()
    assert other.trials == one.trials
    fill(other, 2, seed=5)
    fill(one, 1, seed=6)
    assert len(one) == 6
    assert [trial.number for trial in one.trials] == list(range(6))


def test_another_space_is_told(open_study, small) -> None:
    open_study(small)
    options = synthetic.SMALL | {"kernels": (3,)}
    with pytest.raises(StudyError, match=r"gene 0.0.kernel has the choices \[3, 5\], now \[3\].*more genes"):
        open_study(space("offramp", (3, 16, 16), 10, **options))
    with pytest.raises(StudyError, match=r"input is \[3, 16, 16\], now \[3, 32, 32\]"):
        open_study(space("offramp", (3, 32, 32), 10, **synthetic.SMALL))
    with pytest.raises(StudyError, match=r"its size is .*, now"):
        open_study(space("offramp", (3, 16, 16), 10, **synthetic.SMALL | {"max_exits": 1}))


def test_other_objectives_and_constraints_are_told(open_study, small) -> None:
    open_study(small, ("params <= 9000",))
    with pytest.raises(StudyError, match=r"objectives is \['error', 'mean_macs'\], now \['error', 'params'\]"):
        open_study(small, ("params <= 9000",), objectives=("error", "params"))
    with pytest.raises(StudyError, match=r"constraints is \['params <= 9000'\], now \['params <= 1000'\]"):
        open_study(small, ("params <= 1000",))


def test_a_file_that_is_no_journal_is_told_and_left_alone(open_study, small, tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    path.write_text('{"a": 1}\n')
    with pytest.raises(StudyError, match="is no Optuna journal"):
        open_study(small)
    assert path.read_text() == '{"a": 1}\n'


def test_a_study_of_someone_else_is_told(open_study, small, tmp_path: Path) -> None:
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.journal"))
    other = optuna.create_study(
        study_name="test", storage=optuna.storages.JournalStorage(backend), directions=["minimize"] * 2
    )
    other.add_trial(optuna.trial.create_trial(values=[1.0, 2.0]))
    with pytest.raises(StudyError, match="not made by Offramp"):
        open_study(small)


def test_a_storage_url(tmp_path: Path, toy) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = Study.open(url, "test", toy, synthetic.OBJECTIVES, CONSTRAINTS, analytic_costs)
    fill(study, 3)
    assert Study.open(url, "test", toy, synthetic.OBJECTIVES, CONSTRAINTS, analytic_costs).trials == study.trials


@pytest.mark.parametrize("url", ["sqlite:////no/such/folder/study.db", "nodb://host/study", "oracle://host:1/study"])
def test_a_storage_that_cannot_be_opened_is_told(url, toy) -> None:
    with pytest.raises(StudyError, match=f"the storage {url} cannot be opened: ."):
        Study.open(url, "test", toy, synthetic.OBJECTIVES)


@pytest.mark.parametrize(
    "url, shown",
    [
        ("postgresql://me:s3cret@no.such.host:1/study", "postgresql://me:***@no.such.host:1/study"),
        ("nodb://me:s3cret@host/study?password=s3cret", "nodb://me:***@host/study"),
        ("mysql://me:s3cret@host:port/study", "mysql://..."),
    ],
)
def test_a_storage_s_password_is_not_told(url, shown, toy) -> None:
    with pytest.raises(StudyError) as caught:
        Study.open(url, "test", toy, synthetic.OBJECTIVES)
    assert str(caught.value).startswith(f"the storage {shown} cannot be opened: ")
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_study_elsewhere_is_told_without_its_password(monkeypatch, tmp_path, toy) -> None:
    class Local(optuna.storages.RDBStorage):
        def __init__(self, _url):
            super().__init__(f"sqlite:///{tmp_path / 'study.db'}")

    monkeypatch.setattr(optuna.storages, "RDBStorage", Local)
    url = "postgresql://me:s3cret@host/study"
    Study.open(url, "test", toy, synthetic.OBJECTIVES)
    with pytest.raises(StudyError, match=r"in postgresql://me:\*\*\*@host/study is about something else"):
        Study.open(url, "test", toy, ["error"])


@pytest.mark.parametrize(
    "objectives, complaint",
    [((), "at least one"), (("error", "error"), "none twice"), (("error", "speed"), "known are error, accuracy")],
)
def test_objectives_that_make_no_problem(toy, objectives, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        Problem(toy, objectives)
