import fcntl
import io
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import synthetic_networks as synthetic

from offramp.search import Study
from offramp.search.journal import _Lock, drop_cut_records
from offramp.search.sampling import draw

GENOTYPES = [(0, 0, 0, 0, 0, 0, 0), (1, 1, 2, 1, 0, 1, 0), (2, 1, 3, 0, 1, 1, 0)]


def record(study: Study, genotype: tuple[int, ...]) -> None:
    study.record(genotype, synthetic.evaluate(study.problem.space.decode(genotype)), "test")


def test_one_evaluation_is_one_line(open_study, toy, tmp_path: Path) -> None:
    study = open_study(toy, ("params <= 2000",))
    before = (tmp_path / "study.journal").read_bytes()
    record(study, GENOTYPES[0])
    added = (tmp_path / "study.journal").read_bytes()[len(before) :]
    assert added.count(b"\n") == 1
    assert added.endswith(b"\n")


def test_cut_at_every_byte_of_the_last_record(open_study, toy, tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    study = open_study(toy, ("params <= 2000",))
    record(study, GENOTYPES[0])
    record(study, GENOTYPES[1])
    whole, start = study.trials, path.stat().st_size
    record(study, GENOTYPES[2])
    full = path.read_bytes()
    for end in range(start, len(full)):
        path.write_bytes(full[:end])
        study = open_study(toy, ("params <= 2000",))
        assert study.trials == whole, end
        assert not study.seen(GENOTYPES[2])
        if end % 40 == 0 or end in (start, start + 1, len(full) - 2, len(full) - 1):
            record(study, GENOTYPES[2])
            again = open_study(toy, ("params <= 2000",))
            assert [trial.genotype for trial in again.trials] == GENOTYPES, end


def test_cut_at_any_byte_at_all(open_study, toy, tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    record(open_study(toy), GENOTYPES[0])
    full = path.read_bytes()
    for end in range(0, len(full), 7):
        path.write_bytes(full[:end])
        record(open_study(toy), GENOTYPES[1])
        assert [trial.genotype for trial in open_study(toy).trials] == [GENOTYPES[1]], end


def test_a_line_cut_by_another_process_does_not_spoil_ours(open_study, toy, tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    study = open_study(toy)
    record(study, GENOTYPES[0])
    with path.open("ab") as file:
        file.write(b'{"op_code": 4, "study_')  # killed while writing
    record(study, GENOTYPES[1])
    assert [trial.genotype for trial in open_study(toy).trials] == GENOTYPES[:2]


@pytest.mark.parametrize(
    "text, kept",
    [
        (b"", b""),
        (b"{}\n", b"{}\n"),
        (b"{}\n{", b"{}\n"),
        (b"{}", b""),
        (b'{}\n{"a": 1', b"{}\n"),
        (b"{}\n\0\0\0\0\n", b"{}\n"),  # blocks that were never written before the power went
        (b"{}\n\0\0\n{bad\n", b"{}\n"),
        (b"{}\n" + b'{"a": "' + b"x" * 200_000, b"{}\n"),
        (b"{}\n" + b'{"a": "' + b"x" * 200_000 + b'"}\n', None),
    ],
)
def test_only_what_is_no_whole_record_is_dropped(tmp_path: Path, text: bytes, kept: bytes | None) -> None:
    path = tmp_path / "j"
    path.write_bytes(text)
    with path.open("r+b") as file:
        drop_cut_records(file)
        assert file.seek(0, io.SEEK_END) == path.stat().st_size
    assert path.read_bytes() == (text if kept is None else kept)


def test_the_lock_keeps_others_out_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.touch()
    lock = _Lock(path)
    lock.acquire()
    with path.open("rb") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.release()
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_processes_that_write_at_the_same_time_lose_nothing(open_study, toy) -> None:
    genotypes = draw(open_study(toy).problem, 60, np.random.default_rng(0))

    def write(share: list[tuple[int, ...]]) -> None:
        study = open_study(toy)
        for genotype in share:
            record(study, genotype)

    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=write, args=(genotypes[i::4],)) for i in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = open_study(toy).trials
    assert {trial.genotype for trial in found} == set(genotypes)
    assert [trial.number for trial in found] == list(range(60))
