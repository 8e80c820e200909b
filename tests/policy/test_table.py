import numpy as np
import pytest
from policy_tables import random_table

from offramp.policy import ScoreTable, confidence


def test_derives_predictions_and_accuracy():
    table = ScoreTable(np.array([[[0, 1], [1, 0]], [[0, 1], [0, 1]]]), np.array([0, 1]))
    assert (table.samples, table.exits, table.classes) == (2, 2, 2)
    np.testing.assert_array_equal(table.predictions, [[1, 0], [1, 1]])
    np.testing.assert_array_equal(table.correct, [[False, True], [True, True]])
    np.testing.assert_array_equal(table.exit_accuracy, [0.5, 1.0])


def test_scores_are_computed_once_and_read_only():
    table = random_table(5, 3, 4, 0)
    np.testing.assert_array_equal(table.scores("margin"), confidence("margin", table.logits))
    assert table.scores("margin") is table.scores("margin")
    for array in (table.logits, table.labels, table.correct, table.scores("margin")):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_leaves_the_callers_arrays_writeable():
    logits, labels = np.zeros((2, 2, 2), dtype=np.float32), np.zeros(2, dtype=np.int64)
    ScoreTable(logits, labels)
    logits[0] = labels[0] = 1


def test_subset_keeps_those_exits():
    table = random_table(5, 4, 3, 0)
    part = table.subset([1, 3])
    np.testing.assert_array_equal(part.logits, table.logits[:, [1, 3]])
    np.testing.assert_array_equal(part.labels, table.labels)
    assert table.subset([3]).exits == 1


@pytest.mark.parametrize("exits", [[], [0, 1], [1, 0, 3], [1, 1, 3], [-1, 3], [3, 4], [4]])
def test_subset_must_ascend_to_the_last(exits):
    with pytest.raises(ValueError, match=r"ascend within 0\.\.3 and end with 3"):
        random_table(5, 4, 3, 0).subset(exits)


def test_comes_back_from_a_file(tmp_path):
    table = random_table(5, 4, 3, 0)
    table.save(tmp_path / "scores")
    back = ScoreTable.load(tmp_path / "scores")
    np.testing.assert_array_equal(back.logits, table.logits)
    np.testing.assert_array_equal(back.labels, table.labels)


@pytest.mark.parametrize("content", [b"", b"no table", b"PK\x03\x04 cut", b"\x93NUMPY cut"])
def test_a_file_that_is_no_table_is_named(tmp_path, content):
    path = tmp_path / "scores.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"scores\.npz is not a score table"):
        ScoreTable.load(path)


def test_a_cut_file_is_named(tmp_path):
    path = tmp_path / "scores.npz"
    random_table(50, 4, 3, 0).save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"scores\.npz is not a score table"):
            ScoreTable.load(path)


def test_a_foreign_archive_and_a_lone_array_are_named(tmp_path):
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    np.save(tmp_path / "lone.npy", np.zeros(3))
    for name in ("other.npz", "lone.npy"):
        with pytest.raises(ValueError, match="is not a score table"):
            ScoreTable.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        ScoreTable.load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    "labels, message",
    [
        (np.zeros(4, dtype=int), r"shape \(5,\)"),
        (np.zeros(5), "integers, not float64"),
        (np.full(5, 3), r"0\.\.2, not in 3\.\.3"),
        (np.full(5, -1), r"0\.\.2, not in -1\.\.-1"),
    ],
)
def test_labels_that_do_not_fit(labels, message):
    with pytest.raises(ValueError, match=message):
        ScoreTable(np.zeros((5, 2, 3)), labels)


def test_nan_logits_say_so():
    with pytest.raises(ValueError, match="NaN"):
        ScoreTable(np.full((5, 2, 3), np.nan), np.zeros(5, dtype=int))
