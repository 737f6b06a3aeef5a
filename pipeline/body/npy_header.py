"""The header of an .npy file, read as data: numpy's own reader makes room for any length that a file claims."""

from __future__ import annotations

import io
import tokenize
from typing import IO

import numpy as np

from pipeline.body.inert_values import Refused

MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 10_000
"""numpy's own limit."""


def read_npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is in Fortran's order, and dtype; the stream stands behind them. Raises Refused."""
    start = stream.read(len(MAGIC) + 2)
    wide = start[len(MAGIC) : len(MAGIC) + 1] != b"\x01"
    length = stream.read(4 if wide else 2)
    size = int.from_bytes(length, "little")
    if not start.startswith(MAGIC) or size > MAX_HEADER_BYTES:
        raise Refused("its header is no .npy file's")
    reader = np.lib.format.read_array_header_2_0 if wide else np.lib.format.read_array_header_1_0
    try:
        shape, is_fortran, dtype = reader(io.BytesIO(length + stream.read(size)))
    except (ValueError, SyntaxError, TypeError, tokenize.TokenError, RecursionError) as error:
        raise Refused(f"its header is no .npy file's ({type(error).__name__})") from error
    return tuple(shape), bool(is_fortran), dtype
