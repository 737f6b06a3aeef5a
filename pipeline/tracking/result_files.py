"""Files that estimators of bodies leave behind, opened as plain data: nothing in them is ever run."""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.body.inert_pickle import read_pickle, read_pickled
from pipeline.body.inert_values import Refused, array_from_bytes
from pipeline.body.npy_header import MAGIC, read_npy_header
from schemas.errors import AssetError, SourceError

_UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, MemoryError, RuntimeError, NotImplementedError, zipfile.BadZipFile,
    zlib.error, pa.ArrowException,
)  # fmt: skip
MAX_MEMBER_BYTES = 4 << 30
"""Members of an archive that claim to be larger than this together are not unpacked."""
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
            return json.loads(path.read_text())
        return _contents(path, unneeded)
    except AssetError as error:
        raise SourceError(error.message, remedy=error.remedy) from error
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(f"{path} cannot be read ({reason}).", remedy=_REMEDY) from error


def program_folder(path: Path, inner: Sequence[str]) -> Path:
    """The folder a program wrote, given it or one of the folders inside it."""
    return path.parent if path.is_dir() and path.resolve().name in inner else path


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
        return _array(path.read_bytes(), str(path), unneeded)
    elif start[:4] == b"PAR1":
        return pq.read_table(path)
    return read_pickle(path, unneeded)


def _archive(archive: zipfile.ZipFile, name: str, unneeded: frozenset[str]) -> dict[str, Any]:
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    members = {key: info for key, info in members.items() if key not in unneeded}
    total = 0
    for info in members.values():
        total += info.file_size
        if total > MAX_MEMBER_BYTES:
            raise ValueError(
                f"{info.filename} claims {info.file_size} bytes, the archive more than {MAX_MEMBER_BYTES} "
                "(MAX_MEMBER_BYTES)"
            )
    return {
        key: _array(archive.read(info), f"{name}/{info.filename}", unneeded) for key, info in members.items()
    }


def _array(data: bytes, name: str, unneeded: frozenset[str]) -> Any:
    """An array of an .npy file, or what an array of objects holds."""
    stream = io.BytesIO(data)
    try:
        shape, is_fortran, dtype = read_npy_header(stream)
        if not dtype.hasobject:
            raw = stream.read(math.prod(shape) * dtype.itemsize)
            return array_from_bytes(raw, dtype, shape, is_fortran=is_fortran)
    except Refused as error:
        raise ValueError(f"{name}: {error}") from error
    return read_pickled(data, name, unneeded)
