import io
import pickle
import re
import tarfile

import numpy as np
import pytest

import offramp.data as data
from offramp.data._unpickle import _Array, _Bytes, _Dtype, read_pickle


def python2_pickle(array: np.ndarray, labels: list[int], key: bytes = b"labels") -> bytes:
    """The very opcodes that Python 2 wrote in 2009: protocol 2, str for bytes, numpy.core.multiarray."""

    def short(text: bytes) -> bytes:
        return pickle.SHORT_BINSTRING + bytes([len(text)]) + text

    def whole(number: int) -> bytes:
        return pickle.BININT + number.to_bytes(4, "little", signed=True)

    none, zero = pickle.NONE, whole(0)
    dtype = b"cnumpy\ndtype\n" + short(b"u1") + zero + whole(1) + pickle.TUPLE3 + pickle.REDUCE
    dtype += pickle.MARK + whole(3) + short(b"|") + none * 3 + whole(-1) * 2 + zero + pickle.TUPLE + pickle.BUILD
    shape = b"".join(map(whole, array.shape)) + pickle.TUPLE2
    raw = array.tobytes()
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + zero + pickle.TUPLE1 + short(b"b")
    rebuilt = empty + pickle.TUPLE3 + pickle.REDUCE + pickle.MARK + whole(1) + shape + dtype + pickle.NEWFALSE
    rebuilt += pickle.BINSTRING + len(raw).to_bytes(4, "little") + raw + pickle.TUPLE + pickle.BUILD
    listed = pickle.EMPTY_LIST + pickle.MARK + b"".join(map(whole, labels)) + pickle.APPENDS
    items = short(b"data") + rebuilt + short(key) + listed
    return pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS + pickle.STOP


def batch(count, seed, keys=(b"labels",), classes=10):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 3072)).astype(np.uint8)
    return {b"data": pixels} | {key: [i % n for i in range(count)] for key, n in zip(keys, (classes, 20))}


def write(folder, files):
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    return folder


@pytest.fixture
def ten(tmp_path):
    """A small CIFAR-10 in the official layout."""
    files = {f"data_batch_{i}": batch(20, i) for i in range(1, 6)} | {"test_batch": batch(30, 6)}
    names = [f"name {i}".encode() for i in range(10)]
    return write(tmp_path / "cifar-10-batches-py", files | {"batches.meta": {b"label_names": names}})


@pytest.fixture
def hundred(tmp_path):
    keys = (b"fine_labels", b"coarse_labels")
    names = {
        b"fine_label_names": [f"fine {i}".encode() for i in range(100)],
        b"coarse_label_names": [f"coarse {i}".encode() for i in range(20)],
    }
    parts = {"train": batch(1000, 0, keys, 100), "test": batch(100, 1, keys, 100)}
    return write(tmp_path / "cifar-100-python", parts | {"meta": names})


def test_the_unpacked_folder(ten):
    task = data.task("cifar10", ten.parent, verify=False, select=10, calibrate=10)
    assert task.classes[3] == "name 3"
    assert (len(task.train), len(task.test), task.input) == (80, 30, (3, 32, 32))
    expected = pickle.loads((ten / "test_batch").read_bytes())
    assert task.test.images.numpy().tobytes() == expected[b"data"].tobytes()
    assert task.test.labels.tolist() == expected[b"labels"]
    assert task.notes == ()


def test_the_archive_holds_the_same(ten):
    folder = data.task("cifar10", ten.parent, verify=False, select=10, calibrate=10)
    with tarfile.open(ten.parent / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(ten, arcname=ten.name)
    for file in ten.iterdir():
        file.unlink()
    archive = data.task("cifar10", ten.parent, verify=False, select=10, calibrate=10)
    assert archive.fingerprint() == folder.fingerprint()


@pytest.mark.parametrize("coarse, classes, last", [(False, 100, "fine 99"), (True, 20, "coarse 19")])
def test_cifar100_has_two_labellings(hundred, coarse, classes, last):
    task = data.task("cifar100", hundred.parent, verify=False, coarse=coarse)
    assert len(task.classes) == classes
    assert task.classes[-1] == last
    assert task.test.labels.tolist() == [i % classes for i in range(100)]


def test_a_file_as_python_2_wrote_it():
    array = np.random.default_rng(0).integers(0, 256, (4, 3072)).astype(np.uint8)
    content = python2_pickle(array, [3, 1, 4, 1])
    assert np.array_equal(pickle.loads(content, encoding="bytes")[b"data"], array)  # the form is what we say it is
    found = read_pickle(content, "here")
    assert np.array_equal(found[b"data"], array)
    assert found[b"labels"] == [3, 1, 4, 1]


def test_a_file_that_is_not_the_published_one_is_refused(ten):
    with pytest.raises(data.DataError, match=r"data_batch_1: its MD5 is .* c99cafc1.*verify=False"):
        data.task("cifar10", ten.parent)
    (ten.parent / "cifar-10-python.tar.gz").write_bytes(b"no archive")
    with pytest.raises(data.DataError, match=r"cifar-10-python.tar.gz: its MD5 is .* c58f3010"):
        data.task("cifar10", ten.parent)


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("form", ["alone", "value", "before"])
def test_a_malicious_pickle_runs_nothing(ten, tmp_path, protocol, form):
    import os

    victim = tmp_path / "victim"
    evil = Evil(os.mkdir, str(victim))
    content = {"alone": evil, "value": {b"data": evil}, "before": {b"x": evil} | batch(20, 1)}[form]
    (ten / "data_batch_3").write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(data.DataError, match=r"data_batch_3.*asks for posix.mkdir"):
        data.task("cifar10", ten.parent, verify=False, select=10, calibrate=10)
    assert not victim.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'true'\no.",  # OBJ
        b"cnumpy\nload\n.",
        b"cnumpy.core.multiarray\nfromfile\n.",
        b"c_codecs\nlookup\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",  # STACK_GLOBAL
        b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.tofile\x93.",  # a dotted name reaches into an object
        b"\x80\x02\x82\x01.",  # an extension code
        b"Pelsewhere\n.",  # a persistent id
        b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.",
        b"\x80\x02c_codecs\nencode\n}S'x'\nK\x01sb.",  # a state for a stand-in's class
        b"",
        b"not a pickle",
        b"\x80\x02}",
        b"\x80\x02]q\x00.",
    ],
)
def test_other_names_and_broken_pickles_end_the_reading(content):
    with pytest.raises(data.DataError, match="here: not an official CIFAR file"):
        read_pickle(content, "here")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(3, np.int64),
        np.zeros(3, np.int8),
        np.array([{}, None], object),
        np.array(["a"]),
        np.zeros(2, np.float32),
    ],
)
def test_arrays_of_another_type_are_refused(array):
    with pytest.raises(data.DataError, match="here"):
        read_pickle(pickle.dumps({b"data": array}, protocol=2), "here")


@pytest.mark.parametrize(
    "name, kind",
    [("_codecs\nencode", _Bytes), ("numpy\ndtype", _Dtype), ("numpy.core.multiarray\n_reconstruct", _Array)],
)
def test_a_pickle_cannot_change_the_stand_ins(name, kind):
    with pytest.raises(data.DataError, match="here"):
        read_pickle(b"\x80\x02}S'k'\nc" + name.encode() + b"\nN}Vplanted\nK\x01s\x86bs.", "here")
    assert not hasattr(kind, "planted")


def test_no_prefix_of_a_pickle_is_taken_for_the_whole():
    content = pickle.dumps(batch(1, 0), protocol=2)
    for length in range(0, len(content), 7):
        with pytest.raises(data.DataError):
            read_pickle(content[:length], "here")


def change(**entries):
    return pickle.dumps({k.encode(): v for k, v in entries.items() if v is not None}, protocol=2)


PIXELS = np.zeros((2, 3072), np.uint8)
DAMAGE = [
    ("data_batch_2", None, "missing"),
    ("data_batch_2", change(labels=[0, 1]), "no entry 'data'"),
    ("data_batch_2", change(data=PIXELS), "no entry 'labels'"),
    ("data_batch_2", change(data=PIXELS, labels=[0]), "2 images but labels of shape"),
    ("data_batch_2", change(data=PIXELS, labels=[0, 10]), "label 10 of image 1 is not in 0..9"),
    ("data_batch_2", change(data=PIXELS, labels=[0, -1]), "label -1 of image 1 is not in 0..9"),
    ("data_batch_2", change(data=PIXELS, labels=["a", "b"]), "not a list of whole numbers"),
    ("data_batch_2", change(data=PIXELS[:, :100], labels=[0, 1]), "N x 3072"),
    ("data_batch_2", change(data=[1, 2], labels=[0, 1]), "N x 3072"),
    ("batches.meta", change(label_names=[b"one"]), "is not in 0..0"),
    ("batches.meta", change(label_names=[b"a"] * 12), "12 class names, but cifar10 has 10"),
    ("batches.meta", change(label_names=7), "not a list of names"),
]


@pytest.mark.parametrize("file, content, message", DAMAGE)
def test_damage_is_named_with_its_file(ten, file, content, message):
    (ten / file).unlink()
    if content is not None:
        (ten / file).write_bytes(content)
    with pytest.raises(data.DataError, match=message) as caught:
        data.task("cifar10", ten.parent, verify=False)
    assert file in str(caught.value) or "batches-py" in str(caught.value)


def test_a_damaged_archive_is_named(ten):
    file = ten.parent / "cifar-10-python.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        archive.add(ten, arcname=ten.name)
    whole = file.read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(data.DataError, match=f"{re.escape(str(file))}: (not a readable archive|lacks)"):
            data.task("cifar10", ten.parent, verify=False)


def test_an_archive_cannot_write_outside(ten, tmp_path):
    file = ten.parent / "cifar-10-python.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        member = tarfile.TarInfo("../escaped")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
        link = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(data.DataError, match=r"cifar-10-python\.tar\.gz"):
        data.task("cifar10", ten.parent, verify=False)
    assert not (tmp_path.parent / "escaped").exists()


def test_an_archive_packed_from_within_its_folder(ten):
    wish = {"verify": False, "select": 10, "calibrate": 10}
    folder = data.task("cifar10", ten.parent, **wish)
    with tarfile.open(ten.parent / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(ten, arcname=f"./{ten.name}")
    for file in ten.iterdir():
        file.unlink()
    assert data.task("cifar10", ten.parent, **wish).fingerprint() == folder.fingerprint()
