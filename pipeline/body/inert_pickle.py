"""Pickles read as data: an interpreter of the format that calls nothing the file names.

`pickle` imports and calls whatever a file asks for. Here a name in the file stays a name, and the few constructions
that numeric files need (numpy arrays, scipy's sparse matrices, chumpy's arrays, joblib's arrays, torch's tensors, sets,
byte strings) are made by this package out of the file's own bytes. An object of any other package is its name and its
attributes (`Record`); every other name that is called is an error, so nothing is imported and nothing runs.

Memory is bounded by bytes and depth: every byte of an array is a byte of the file, and a file may hold `MAX_BYTES`,
unpack to `MAX_UNPACKED_BYTES` (`pickle_source`), make `MAX_OBJECTS` objects and nest `MAX_DEPTH` deep
(`pickle_machine`).
"""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipeline.body.inert_torch import is_legacy_torch, machine, tensors_from_legacy, tensors_from_zip
from pipeline.body.inert_values import Inert, Refused
from pipeline.body.npy_header import MAGIC, read_npy_header
from pipeline.body.pickle_source import PickleSource
from schemas.errors import AssetError

_REMEDY = (
    "Only files of numbers (numpy, scipy.sparse, chumpy, joblib, torch) can be read; get the file from its makers, or "
    "save its arrays alone, with numpy.savez."
)
_UNREADABLE = (
    Refused, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, MemoryError,
    struct.error, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile,
)  # fmt: skip
"""What damaged files and files made to do harm end in."""


def read_pickle(path: Path, unneeded: frozenset[str] = frozenset()) -> Any:
    """The contents of a pickle, of a file of joblib or torch, or of an .npy of objects, as plain data.

    Numbers, strings, lists, tuples and dictionaries come back as they are, sets as lists, arrays and tensors as numpy
    arrays (arrays of objects as nested lists), sparse matrices and chumpy arrays as `Inert` (see `dense_array`),
    objects of other classes as dictionaries of their attributes. Arrays under the keys `unneeded` are passed over.
    Raises AssetError for anything else; nothing in the file is ever called.
    """
    try:
        with path.open("rb") as stream:
            return _contents(stream, str(path), unneeded)
    except OSError as error:
        raise AssetError(f"{path} cannot be read ({error}).", remedy="Check the path of the file.") from error


def read_pickled(data: bytes, name: str, unneeded: frozenset[str] = frozenset()) -> Any:
    """See `read_pickle`; `name` says in errors where the bytes came from."""
    return _contents(io.BytesIO(data), name, unneeded)


def read_stream(stream: IO[bytes], name: str, unneeded: frozenset[str] = frozenset()) -> Any:
    """See `read_pickle`, of a pickle alone in a stream that need not be seekable."""
    try:
        return machine(PickleSource(stream), unneeded).run()
    except _UNREADABLE as error:
        raise AssetError(
            f"{name} is not read: {str(error) or type(error).__name__}.", remedy=_REMEDY
        ) from error


def _contents(stream: IO[bytes], name: str, unneeded: frozenset[str]) -> Any:
    try:
        start = stream.read(16)
        stream.seek(0)
        if start[:2] == b"PK":
            with zipfile.ZipFile(stream) as archive:
                return tensors_from_zip(archive)
        if is_legacy_torch(start):
            return tensors_from_legacy(stream)
        if start[: len(MAGIC)] == MAGIC and read_npy_header(stream)[2].kind != "O":
            raise Refused("it is an .npy file without objects: numpy.load reads it")
        return machine(PickleSource(stream), unneeded).run()
    except _UNREADABLE as error:
        reason = str(error) or type(error).__name__
        raise AssetError(f"{name} is not read: {reason}.", remedy=_REMEDY) from error


def dense_array(value: Any) -> np.ndarray:
    """The numbers of an array, a sparse matrix or a chumpy array. Raises ValueError where there are none."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, int | float):
        return np.asarray(value)
    if isinstance(value, list | tuple) and all(isinstance(item, int | float) for item in value):
        return np.asarray(value)  # a nested one might name the same items over and over
    if isinstance(value, Inert) and isinstance(value.state, dict):
        top = value.name.module.split(".")[0]
        if top == "chumpy":
            return _chumpy_array(value)
        if top == "scipy":
            return _sparse_array(value)
    raise ValueError(f"{getattr(value, 'name', type(value).__name__)} holds no numbers that are known here")


def _chumpy_array(value: Inert) -> np.ndarray:
    """chumpy.ch.Ch keeps its numbers under `x`; chumpy.reordering.Select shows a.ravel()[idxs] in a shape."""
    state = value.state
    if value.name.attribute == "Ch" and "x" in state:
        return dense_array(state["x"])
    if value.name.attribute == "Select" and {"a", "idxs"} <= state.keys():
        chosen = dense_array(state["a"]).ravel()[dense_array(state["idxs"]).astype(np.int64)]
        return chosen.reshape(state.get("preferred_shape", chosen.shape))
    raise ValueError(f"{value.name} with {sorted(map(str, state))} is not an array that is known here")


def _sparse_array(value: Inert) -> np.ndarray:
    """Compressed columns or rows, or coordinates, as a dense matrix."""
    state, kind = value.state, value.name.attribute
    shape = tuple(map(int, state.get("_shape", state.get("shape", ()))))
    if (
        kind not in ("csc_matrix", "csr_matrix", "coo_matrix")
        or len(shape) != 2
        or np.prod(shape, dtype=object) > 1 << 24
    ):
        raise ValueError(f"{value.name} of shape {shape} is not a small compressed matrix")
    data = dense_array(state["data"])
    if kind == "coo_matrix":
        coordinates = state["coords"] if "coords" in state else (state["row"], state["col"])
        rows, columns = map(dense_array, coordinates)
    else:
        minor, starts = dense_array(state["indices"]), dense_array(state["indptr"])
        if len(starts) != shape[kind == "csc_matrix"] + 1 or starts[0] != 0 or starts[-1] != len(data):
            raise ValueError(f"{value.name}: pointers do not fit shape {shape} and {len(data)} values")
        if (np.diff(starts) < 0).any():
            raise ValueError(f"{value.name}: pointers do not ascend")
        major = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        rows, columns = (minor, major) if kind == "csc_matrix" else (major, minor)
    dense = np.zeros(shape, data.dtype)
    if len(data) and (min(rows.min(), columns.min()) < 0):
        raise ValueError(f"{value.name}: an index is negative")
    np.add.at(dense, (rows, columns), data)
    return dense
