"""Read the official CIFAR pickles without trusting them.

A pickle may name any function and have it called. Here a name is looked up in a table of three stand-ins of our own,
which together can make one thing, a uint8 array; every other name ends the reading. No function that a file names runs,
not even numpy's.
"""

import io
import pickle
from typing import Any

import numpy as np

from offramp.data._errors import DataError

# Each has a __setstate__, so that a file cannot set attributes of its own on them.


class _Array:
    """Stands in for `numpy.core.multiarray._reconstruct`: an empty array, filled by its pickled state."""

    def __init__(self, *_: Any) -> None:
        self.value: np.ndarray[Any, np.dtype[np.uint8]] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
            raise pickle.UnpicklingError("an array that is not plain uint8")
        self.value = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C")


class _Dtype:
    """Stands in for `numpy.dtype`; only uint8 exists."""

    def __init__(self, code: str | bytes, *_: Any) -> None:
        if code not in ("u1", b"u1"):
            raise pickle.UnpicklingError(f"an array of type {code!r} where uint8 was expected")

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment, which mean nothing for single bytes."""


class _Bytes(bytes):
    """Stands in for `_codecs.encode`, by which Python 3 writes bytes for Python 2."""

    def __new__(cls, text: str, encoding: str = "latin1") -> "_Bytes":
        if encoding not in ("latin1", b"latin1"):
            raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
        return super().__new__(cls, text, "latin1")

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("bytes with a state")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): None,  # only ever an argument of _reconstruct
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Bytes,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR file needs")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it asks for an object outside the file")


def read_pickle(content: bytes, origin: str) -> dict[bytes, Any]:
    """The dictionary in an official CIFAR pickle: bytes keys; lists, bytes and uint8 arrays as values."""
    try:
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(found, dict):
            raise pickle.UnpicklingError("it holds no dictionary")
        return {_key(key): value.value if isinstance(value, _Array) else value for key, value in found.items()}
    except Exception as error:  # a broken pickle can raise nearly anything
        raise DataError(
            f"{origin}: not an official CIFAR file: {error}. Nothing in it was run; download it again."
        ) from error


def _key(key: object) -> bytes:
    if isinstance(key, str):
        return key.encode()
    if isinstance(key, bytes):
        return bytes(key)
    raise pickle.UnpicklingError(f"the key {key!r}")
