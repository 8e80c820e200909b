import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import synthetic_networks as synthetic

from offramp.search import PROPOSERS, Evaluation, NothingFeasible, Study, proposer, search
from offramp.spaces import Candidate

FAST = {"surrogate": {"generations": 3, "population": 16}}


def run(study: Study, name: str = "nsga2", evaluate=synthetic.evaluate, seed: int = 0, **more):
    more = {"evaluations": 40, "initial": 12, "batch": 6} | more
    return search(evaluate, study, proposer(name, study.problem, **FAST.get(name, {})), seed=seed, **more)


class Counting:
    """Counts how often each candidate is evaluated; raises KeyboardInterrupt at one call."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.calls: Counter[Candidate] = Counter()
        self._stop_at = stop_at

    def __call__(self, candidate: Candidate) -> Evaluation:
        if self.calls.total() == self._stop_at:
            raise KeyboardInterrupt
        self.calls[candidate] += 1
        return synthetic.evaluate(candidate)


def genotypes(study: Study) -> list[tuple[int, ...]]:
    return [trial.genotype for trial in study.trials]


def test_the_whole_budget_is_spent_and_nothing_twice(open_study, small) -> None:
    count, heard = Counting(), []
    study = open_study(small)
    outcome = run(study, evaluate=count, progress=lambda *said: heard.append(said))
    assert outcome.evaluated == len(study) == 40
    assert outcome.reason == "40 evaluations are done"
    assert set(count.calls.values()) == {1}
    assert [(done, total, trial.number) for done, total, trial in heard] == [(n + 1, 40, n) for n in range(40)]
    assert [trial.proposer for trial in study.trials] == ["initial"] * 12 + ["nsga2"] * 28
    assert [trial.batch for trial in study.trials[11:26]] == [0, *[12] * 6, *[18] * 6, 24, 24]
    assert run(study, evaluate=count).evaluated == 0


@pytest.mark.parametrize("name", PROPOSERS)
def test_stopped_anywhere_it_goes_on_as_if_it_had_not(open_study, small, name) -> None:
    run(whole := open_study(small, file="whole"), name, evaluations=27)
    for stop in (0, 5, 12, 13, 20, 26):
        file = f"stopped at {stop}"
        with pytest.raises(KeyboardInterrupt):
            run(open_study(small, file=file), name, evaluate=Counting(stop))
        assert len(open_study(small, file=file)) == stop
        run(open_study(small, file=file), name, evaluations=27)
        assert genotypes(open_study(small, file=file)) == genotypes(whole), stop


def test_a_longer_search_begins_as_the_shorter(open_study, small) -> None:
    run(whole := open_study(small, file="whole"))
    for budget in (7, 21, 33, 40):
        run(open_study(small), evaluations=budget)
    assert genotypes(open_study(small)) == genotypes(whole)


def test_another_seed_is_another_search(open_study, small) -> None:
    run(one := open_study(small, file="one"), evaluations=20)
    run(other := open_study(small, file="other"), seed=1, evaluations=20)
    assert not set(genotypes(one)) & set(genotypes(other))


def test_a_failing_evaluator_is_recorded_and_shifts_nothing(open_study, small) -> None:
    def fails_for_some(candidate: Candidate) -> Evaluation:
        if len(candidate.architecture.stages[0].blocks) == 2:
            raise RuntimeError(f"cannot build {candidate.architecture.key}")
        return synthetic.evaluate(candidate)

    study = open_study(small, ("error <= 0.5",))
    run(study, evaluate=fails_for_some)
    failed = [trial for trial in study.trials if trial.failure]
    assert 0 < len(failed) < 40
    for trial in open_study(small, ("error <= 0.5",)).trials:
        if trial.failure:
            assert trial.failure.message == f"RuntimeError: cannot build {trial.candidate.architecture.key}"
            assert not trial.feasible
        else:
            assert trial.metrics == synthetic.evaluate(trial.candidate).metrics
    assert not {trial.number for trial in failed} & {trial.number for trial in study.front()}
    assert run(study, evaluate=fails_for_some).evaluated == 0


@pytest.mark.parametrize("name", PROPOSERS)
def test_an_evaluator_that_always_fails_comes_to_an_end(open_study, small, name) -> None:
    def fails(candidate: Candidate) -> Evaluation:
        raise OSError("disk full")

    study = open_study(small)
    assert run(study, name, evaluate=fails, evaluations=15).evaluated == 15
    assert {trial.failure.message for trial in study.trials} == {"OSError: disk full"}


def test_an_evaluation_that_is_not_finite_fails(open_study, small) -> None:
    study = open_study(small)
    run(study, evaluate=lambda candidate: Evaluation({"error": float("nan"), "mean_macs": 1.0}), evaluations=2)
    assert "not finite" in study.trials[0].failure.message


@pytest.mark.parametrize("exit_with", [KeyboardInterrupt, SystemExit, ImportError])
def test_a_wish_to_stop_and_a_missing_library_pass_through(open_study, small, exit_with) -> None:
    def stops(candidate: Candidate) -> Evaluation:
        raise exit_with

    study = open_study(small)
    with pytest.raises(exit_with):
        run(study, evaluate=stops)
    assert len(study) == 0


@pytest.mark.parametrize("name", PROPOSERS)
def test_a_small_space_is_searched_to_its_end(open_study, tiny, name) -> None:
    study, count = open_study(tiny), Counting()
    outcome = run(study, name, evaluate=count, evaluations=1000, batch=16)
    assert outcome.reason == f"{name} found nothing left to propose"
    assert len(study) == tiny.size() == len(count.calls)
    assert set(count.calls.values()) == {1}


def test_it_stops_when_hypervolume_stops_growing(open_study, small) -> None:
    study = open_study(small)
    outcome = run(study, evaluate=lambda candidate: Evaluation({"error": 0.5, "mean_macs": 1.0}), stop_after=3)
    assert outcome.reason == "the hypervolume has not grown for 3 batches"
    assert len(study) == 12 + 3 * 6


@pytest.mark.parametrize("late", [(0.9, 4.0), (0.05, 0.5)], ids=["dominated", "infeasible"])
def test_what_adds_no_hypervolume_does_not_keep_it_going(open_study, small, late) -> None:
    """Ever dearer and worse networks; or ever better ones that break a constraint."""
    numbers = iter(range(1000))

    def evaluate(candidate: Candidate) -> Evaluation:
        if (number := next(numbers)) < 12:
            return Evaluation({"error": 0.5 - 0.01 * number, "mean_macs": 1.0 + number, "params": 1.0})
        error, macs = late
        bad = error < 0.1
        return Evaluation({"error": error / number if bad else error, "mean_macs": macs * number, "params": 9.0})

    study = open_study(small, ("params <= 5",) if late[0] < 0.1 else (), known=None)
    outcome = run(study, evaluate=evaluate, stop_after=2, evaluations=60)
    assert outcome.reason == "the hypervolume has not grown for 2 batches"
    assert len(study) == 12 + 2 * 6


@pytest.mark.parametrize("stop_after", [1, 2])
def test_stopped_anywhere_it_still_stops_where_it_would_have(open_study, small, stop_after) -> None:
    """A batch that was cut is not counted as one without growth before it is finished."""

    def evaluate(candidate: Candidate) -> Evaluation:
        return Evaluation({"error": synthetic.evaluate(candidate).metrics["error"], "mean_macs": 1.0})

    class Stops:
        def __init__(self, at: int) -> None:
            self.left = at

        def __call__(self, candidate: Candidate) -> Evaluation:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            return evaluate(candidate)

    ended = run(whole := open_study(small, file="whole"), evaluate=evaluate, stop_after=stop_after, evaluations=90)
    assert ended.reason.startswith("the hypervolume has not grown")
    for stop in range(12, len(whole), 5):
        file = f"stopped at {stop}"
        with pytest.raises(KeyboardInterrupt):
            run(open_study(small, file=file), evaluate=Stops(stop), stop_after=stop_after, evaluations=90)
        again = run(open_study(small, file=file), evaluate=evaluate, stop_after=stop_after, evaluations=90)
        assert again.reason == ended.reason
        assert genotypes(open_study(small, file=file)) == genotypes(whole), stop


def test_a_search_with_the_choice_among_surrogates_survives_odd_trials(open_study, toy) -> None:
    """A gene without choice, equal results, NaN, failures: it spends its budget."""
    heard = []

    def evaluate(candidate: Candidate) -> Evaluation:
        metrics = synthetic.evaluate(candidate).metrics
        match len(heard_of) % 3:
            case 0:
                metrics["error"] = float("nan")
            case 1:
                metrics["error"] = 0.5
        heard_of.append(candidate)
        return Evaluation(metrics)

    heard_of: list[Candidate] = []
    study = open_study(toy, ("error <= 0.9",))
    options = {"model": "auto", "generations": 2, "population": 8, "report": heard.append}
    search(evaluate, study, proposer("surrogate", study.problem, **options), evaluations=26, initial=10, batch=8)
    assert len(study) == 26
    assert [batch["trials"] for batch in heard] == [10, 18]
    chosen = heard[-1]["surrogates"]["error"]
    assert chosen["model"] in chosen["models"]
    assert chosen["tau"] == chosen["models"][chosen["model"]]["tau"]


def test_it_goes_on_while_hypervolume_grows(open_study, small) -> None:
    study = open_study(small)

    def better_every_other_batch(candidate: Candidate) -> Evaluation:
        return Evaluation({"error": 1 / (1 + len(study) // 12), "mean_macs": 1.0})

    assert run(study, evaluate=better_every_other_batch, stop_after=2).reason == "40 evaluations are done"


def test_what_another_process_evaluates_meanwhile_is_left_to_it(open_study, small) -> None:
    run(alone := open_study(small, file="alone"))
    study, other = open_study(small), open_study(small)

    def evaluates_the_next_elsewhere(candidate: Candidate) -> Evaluation:
        if not other.trials:
            ahead = alone.trials[3]
            other.record(ahead.genotype, ahead.evaluation, "other")
        return synthetic.evaluate(candidate)

    run(study, evaluate=evaluates_the_next_elsewhere, evaluations=10)
    assert [trial.proposer for trial in study.trials] == ["other", *["initial"] * 9]
    assert len({trial.genotype for trial in study.trials}) == 10


def test_constraints_that_nothing_can_keep_are_told_before_anything_is_evaluated(open_study, small) -> None:
    with pytest.raises(NothingFeasible, match=r"can meet params <= 10; its smallest has .*params"):
        run(open_study(small, ("params <= 10",)))


def test_only_what_can_keep_the_constraints_is_evaluated(open_study, small) -> None:
    study = open_study(small, ("params <= 9000", "mean_macs <= 3e5"))
    run(study)
    assert max(trial.metrics["params"] for trial in study.trials) <= 9000
    assert max(trial.metrics["least_mean_macs"] for trial in study.trials) <= 3e5


def test_search_beats_random(open_study, small) -> None:
    reference = {"error": 0.6, "mean_macs": 2e6}
    volumes: dict[str, list[float]] = {}
    for name in PROPOSERS:
        for seed in range(3):
            study = open_study(small, file=f"{name}{seed}")
            options = {"population": 30, "generations": 12} if name == "surrogate" else {}
            maker = proposer(name, study.problem, **options)
            search(synthetic.evaluate, study, maker, evaluations=64, initial=24, batch=8, seed=seed)
            volumes.setdefault(name, []).append(study.hypervolume(reference))
    mean = {name: float(np.mean(found)) for name, found in volumes.items()}
    assert mean["nsga2"] > mean["random"]
    assert min(volumes["surrogate"]) > max(volumes["random"])
    assert mean["surrogate"] > mean["nsga2"]


def test_importing_search_imports_nothing_heavy() -> None:
    code = "import sys, offramp.search as s; s.Constraint; print([m for m in HEAVY if m in sys.modules])"
    heavy = "HEAVY = ['optuna', 'pymoo', 'sklearn', 'torch', 'scipy']; "
    found = subprocess.run([sys.executable, "-c", heavy + code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    import offramp.search

    assert all(getattr(offramp.search, name) is not None for name in offramp.search.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        offramp.search.nothing  # noqa: B018
