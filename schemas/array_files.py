"""The one place where .npz files of predictions and truths are read: a damaged one is an error that names it."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DatasetError

_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy and zipfile raise for bytes that are damaged: an unknown compression and the flag of a password are
RuntimeErrors, a header that claims a huge array a MemoryError, one that is no Python a SyntaxError or TokenError."""
_MAX_BYTES = 2**30


def read_arrays(
    path: Path, needed: Sequence[str], *, optional: Sequence[str] = (), what: str, remedy: str
) -> dict[str, NDArray[Any]]:
    """The named arrays of an .npz file; those of `optional` that it lacks stay away. Pickled objects are refused.

    Raises DatasetError saying that the file is not `what`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MAX_BYTES:
                raise ValueError("it claims more than 1 GB")
        with np.load(path, allow_pickle=False) as data:
            missing = [name for name in needed if name not in data]
            if missing:
                raise ValueError(f"it lacks {', '.join(missing)}")
            return {name: data[name] for name in (*needed, *optional) if name in data}
    except _ERRORS as error:
        why = (
            (error.strerror if isinstance(error, OSError) else "")
            or str(error).rstrip(".")
            or type(error).__name__
        )
        raise DatasetError(f"{path} is not {what}: {why}.", remedy=remedy) from error
