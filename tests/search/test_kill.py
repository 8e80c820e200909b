"""kill -9, for real and at random moments."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import synthetic_networks as synthetic

from offramp.search import Evaluation, Study, Trial, proposer, search
from offramp.spaces import Candidate

BUDGET = 160


def run(open_it: Callable[[], Study], log: Path) -> None:
    """A search that writes down when an evaluation begins and when it is recorded."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def evaluate(candidate: Candidate) -> Evaluation:
        os.write(descriptor, f"begin {candidate.architecture.key}\n".encode())
        time.sleep(0.01)
        return synthetic.evaluate(candidate)

    def recorded(done: int, total: int, trial: Trial) -> None:
        os.write(descriptor, f"recorded {trial.candidate.architecture.key}\n".encode())

    study = open_it()
    maker = proposer("nsga2", study.problem)
    search(evaluate, study, maker, evaluations=BUDGET, initial=10, batch=8, seed=4, progress=recorded)


def test_killed_at_20_random_moments(open_study, small, tmp_path: Path) -> None:
    rng, fork = np.random.default_rng(0), multiprocessing.get_context("fork")
    log = tmp_path / "log"
    log.touch()
    for _ in range(20):
        # A moment is a number of events and a little more: in the start, in an evaluation, in a record, in a proposal.
        events = len(log.read_text().splitlines()) + rng.integers(0, 14)
        process = fork.Process(target=run, args=(lambda: open_study(small), log))
        process.start()
        while len(log.read_text().splitlines()) < events and process.is_alive():
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL, "the search was over before it could be killed 20 times"
    run(lambda: open_study(small), log)
    lines = log.read_text().splitlines()
    trials = open_study(small).trials
    keys = [trial.candidate.architecture.key for trial in trials]
    begun = [key for event, key in map(str.split, lines) if event == "begin"]
    assert len(begun) > BUDGET, "no kill met an evaluation"
    assert len(set(keys)) == len(keys) == BUDGET
    done: set[str] = set()
    for event, key in map(str.split, lines):
        assert key not in done, "a finished evaluation was repeated"
        if event == "recorded":
            done.add(key)
    assert done <= set(keys), "a finished evaluation was lost"

    run(lambda: open_study(small, file="whole"), tmp_path / "other log")
    assert [trial.genotype for trial in open_study(small, file="whole").trials] == [trial.genotype for trial in trials]
