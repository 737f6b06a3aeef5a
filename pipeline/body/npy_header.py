"""The header of an .npy file, read as data: numpy's own reader lets errors of Python's tokenizer through."""

from __future__ import annotations

import tokenize
from typing import IO

import numpy as np

from pipeline.body.inert_values import Refused

MAGIC = b"\x93NUMPY"


def read_npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is in Fortran's order, and dtype; the stream stands behind them. Raises Refused."""
    try:
        version = np.lib.format.read_magic(stream)
        reader = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, is_fortran, dtype = reader(stream)
    except (ValueError, SyntaxError, TypeError, tokenize.TokenError, RecursionError) as error:
        raise Refused(f"its header is no .npy file's ({type(error).__name__})") from error
    return tuple(shape), bool(is_fortran), dtype
