"""Files that estimators of bodies leave behind, opened as plain data: nothing in them is ever run."""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.body.inert_pickle import read_pickle, read_stream
from pipeline.body.inert_values import Refused, array_from_bytes
from pipeline.body.npy_header import MAGIC, read_npy_header
from schemas.errors import AssetError, SourceError

_UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, MemoryError, RuntimeError, NotImplementedError, zipfile.BadZipFile,
    zlib.error, pa.ArrowException,
)  # fmt: skip
MAX_HELD_BYTES = 4 << 30
"""What the arrays of one archive may take together; its pickles have limits of their own (`body.inert_pickle`)."""
KNOWN = (".npz", ".npy", ".pkl", ".pickle", ".joblib", ".pt", ".pth", ".json", ".parquet")
_REMEDY = "Only files of numbers are read: .npz, .npy, .pkl (pickle or joblib), .pt, .json, .parquet."


def read_result(path: Path, unneeded: frozenset[str] = frozenset(), files: Sequence[str] = ()) -> Any:
    """Contents of a file as dictionaries, lists and arrays, or of a folder as a dictionary of its files.

    What a file is its first bytes say: .npz and .npy, pickles and joblib's files (compressed or not), torch's, Parquet;
    all but the last through `body.inert_pickle`. Arrays under the keys `unneeded` are passed over. Of a folder those
    that match one of the patterns `files` are read, else all that are known. Raises SourceError.
    """
    try:
        if path.is_dir():
            return {
                found.relative_to(path).as_posix(): read_result(found, unneeded)
                for found in _files(path, files)
            }
        if path.suffix.lower() == ".json":
            return json.loads(path.read_text(encoding="utf-8"))
        return _contents(path, unneeded)
    except AssetError as error:
        raise SourceError(error.message, remedy=error.remedy) from error
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(f"{path} cannot be read ({reason}).", remedy=_REMEDY) from error


def program_folder(path: Path, inner: Sequence[str]) -> Path:
    """The folder a program wrote, given it or one of the folders inside it."""
    return path.parent if path.is_dir() and path.resolve().name in inner else path


def single_file(path: Path, patterns: Sequence[str]) -> Path:
    """The one file a program wrote, given it or its folder. Raises SourceError where there is none or several."""
    if not patterns or not path.is_dir():
        return path
    for pattern in patterns:
        found = sorted(path.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(file.relative_to(path).as_posix() for file in found[:5])
            raise SourceError(f"{path} holds {len(found)} files of results.", remedy=f"Give one of {names}.")
    raise SourceError(f"{path} holds no {' or '.join(patterns)}.", remedy="Give the file of results itself.")


def _files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    if patterns:
        found = {path for pattern in patterns for path in folder.glob(pattern)}
    else:
        found = {path for path in folder.iterdir() if path.suffix.lower() in KNOWN}
    return sorted(path for path in found if path.is_file())


def _contents(path: Path, unneeded: frozenset[str]) -> Any:
    if path.suffix.lower() not in KNOWN:
        raise SourceError(f"{path}: a {path.suffix!r} file is not known.", remedy=_REMEDY)
    with path.open("rb") as stream:
        start = stream.read(6)
    if start[:2] == b"PK":
        with zipfile.ZipFile(path) as archive:
            if not any(name.endswith("data.pkl") for name in archive.namelist()):
                return _archive(archive, str(path), unneeded)
    elif start == MAGIC:
        with path.open("rb") as stream:
            return _array(stream, str(path), unneeded, MAX_HELD_BYTES)
    elif start[:4] == b"PAR1":
        return pq.read_table(path)
    return read_pickle(path, unneeded)


def _archive(archive: zipfile.ZipFile, name: str, unneeded: frozenset[str]) -> dict[str, Any]:
    contents: dict[str, Any] = {}
    held = 0
    for info in archive.infolist():
        key = info.filename.removesuffix(".npy")
        if key not in unneeded:
            with archive.open(info) as stream:
                contents[key] = _array(stream, f"{name}/{info.filename}", unneeded, MAX_HELD_BYTES - held)
            held += contents[key].nbytes if isinstance(contents[key], np.ndarray) else 0
    return contents


def _array(stream: IO[bytes], name: str, unneeded: frozenset[str], limit: int) -> Any:
    """An array of an .npy file, or what an array of objects holds."""
    try:
        shape, is_fortran, dtype = read_npy_header(stream)
        if dtype.hasobject:
            return read_stream(stream, name, unneeded)
        wanted = math.prod(shape) * dtype.itemsize
        if wanted > limit:
            raise Refused(f"it claims {wanted} bytes, more than {limit} (MAX_HELD_BYTES)")
        return array_from_bytes(_taken(stream, wanted), dtype, shape, is_fortran=is_fortran)
    except Refused as error:
        raise ValueError(f"{name}: {error}") from error


def _taken(stream: IO[bytes], count: int) -> bytes:
    """Up to `count` bytes, in pieces: room for what a file merely claims is never made."""
    parts = []
    while count > 0 and (part := stream.read(min(count, 1 << 24))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
