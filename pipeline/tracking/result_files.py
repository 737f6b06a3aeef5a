"""Files that estimators of bodies leave behind, opened as plain data: nothing in them is ever run."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pipeline.body.inert_pickle import read_pickle, read_pickled
from schemas.errors import AssetError, SourceError

_UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error,
    pa.ArrowException,
)  # fmt: skip
MAX_MEMBER_BYTES = 2 << 30
"""A member of an archive that claims to be larger than this is not unpacked."""


def read_result(path: Path) -> Any:
    """Contents of .npz, .npy, .pkl (pickle or joblib), .pt and .parquet as dictionaries, lists and arrays.

    Pickles go through `body.inert_pickle`, .pt through torch's `weights_only`; tensors become arrays. A folder
    becomes a dictionary of its files. Raises SourceError.
    """
    try:
        if path.is_dir():
            return {found.name: read_result(found) for found in sorted(path.iterdir()) if found.is_file()}
        suffix = path.suffix.lower()
        if suffix == ".npz":
            return _archive(path)
        if suffix == ".npy":
            return _array(path.read_bytes(), str(path))
        if suffix in (".pkl", ".pickle", ".joblib"):
            return read_pickle(path)
        if suffix in (".pt", ".pth"):
            return _arrays_of(_tensors(path))
        if suffix == ".json":
            return json.loads(path.read_text(encoding="utf-8"))
        if suffix == ".parquet":
            return pq.read_table(path)
    except AssetError as error:
        raise SourceError(error.message, remedy=error.remedy) from error
    except _UNREADABLE as error:
        raise SourceError(
            f"{path} cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__}).",
            remedy="Only files of numbers are read: .npz, .npy, .pkl, .pt (weights only), .json, .parquet.",
        ) from error
    raise SourceError(f"{path}: a {path.suffix!r} file is not known.", remedy="Give .npz, .npy, .pkl or .pt.")


def _archive(path: Path) -> dict[str, Any]:
    contents = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.file_size > MAX_MEMBER_BYTES:
                raise ValueError(f"{member.filename} claims {member.file_size} bytes")
            contents[member.filename.removesuffix(".npy")] = _array(
                archive.read(member), f"{path}/{member.filename}"
            )
    return contents


def _array(data: bytes, name: str) -> Any:
    """An array of an .npy file, or what an array of one object holds."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    if reader(stream)[2].hasobject:
        return read_pickled(data, name)
    return np.load(io.BytesIO(data), allow_pickle=False)


def _tensors(path: Path) -> Any:
    """A .pt file through torch's `weights_only`, whose own message would advise to run what is in the file."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if type(error).__name__ == "UnpicklingError":
            raise ValueError("it holds more than tensors and plain numbers") from None
        raise


def _arrays_of(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, dict):
        return {key: _arrays_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_arrays_of(item) for item in value]
    return value
