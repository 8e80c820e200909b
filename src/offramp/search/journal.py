"""The journal file of a study: one line per record, safe against a kill at any moment."""

from __future__ import annotations

import json
import logging
import os
from io import SEEK_END
from pathlib import Path
from typing import IO, Any

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.storages.journal._file import BaseJournalFileLock

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_log = logging.getLogger(__name__)
_BLOCK = 1 << 16


def open_journal(path: Path) -> BaseStorage:
    """The storage in the journal file `path`, made if absent; a record that was cut while being written is dropped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with path.open("r+b") as file:
        drop_cut_records(file)
    lock: Any = JournalFileOpenLock(str(path)) if fcntl is None else _Lock(path)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


class _Lock(BaseJournalFileLock):
    """A lock that the kernel gives back when its holder is killed.

    Optuna's own are files, which a killed process leaves behind: the next one then waits 30 seconds for them. While the
    lock is held nobody else is writing, so a cut record at the end was left by a process killed: it is dropped before
    anything is appended.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._file = self._path.open("r+b")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        _drop_cut_line(self._file)
        return True

    def release(self) -> None:
        """Give it back."""
        if self._file is not None:
            self._file.close()
        self._file = None


def drop_cut_records(file: IO[bytes]) -> None:
    """Drop, at the end of an open journal, what is no whole record: an unfinished line, or lines that are not JSON."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed
    _drop_cut_line(file)
    while (end := file.seek(0, SEEK_END)) and not _is_record(line := _last_line(file, end)):
        _truncate(file, end - len(line))


def _drop_cut_line(file: IO[bytes]) -> None:
    end = file.seek(0, SEEK_END)
    if end:
        file.seek(end - 1)
        if file.read(1) != b"\n":
            _truncate(file, end - len(_last_line(file, end)))


def _last_line(file: IO[bytes], end: int) -> bytes:
    """The bytes from behind the last newline before `end - 1`, up to `end`."""
    start, tail = end, b""
    while start > 0 and b"\n" not in tail[:-1]:
        size = min(_BLOCK, start)
        start -= size
        file.seek(start)
        tail = file.read(size) + tail
    return tail[tail.rfind(b"\n", 0, -1) + 1 :]


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _truncate(file: IO[bytes], size: int) -> None:
    _log.warning("%s: a record cut while being written is dropped, from byte %d", file.name, size)
    file.truncate(size)
    file.flush()
    os.fsync(file.fileno())
