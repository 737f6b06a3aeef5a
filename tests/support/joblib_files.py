"""Files as joblib writes them, without joblib: arrays lie in the stream behind their descriptions."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np


class NumpyArrayWrapper:
    """What joblib leaves in an array's place."""

    def __init__(self, array: np.ndarray) -> None:
        self.subclass = np.ndarray
        self.shape, self.dtype, self.order = array.shape, array.dtype, "C"
        self.allow_mmap, self.numpy_array_alignment_bytes = True, 16


NumpyArrayWrapper.__module__ = "joblib.numpy_pickle"


class _Pickler(pickle._Pickler):  # type: ignore[name-defined]
    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if type(obj) is not np.ndarray or obj.dtype.hasobject:
            super().save(obj, save_persistent_id)
            return
        super().save(NumpyArrayWrapper(obj))
        stream = self.stream
        length = 16 - (stream.tell() + 1) % 16
        stream.write(bytes([length]) + b"\xff" * length + np.ascontiguousarray(obj).tobytes())


def dump(contents: Any, path: Path) -> Path:
    """Writes a file in the layout of joblib.dump without compression."""
    module = types.ModuleType("joblib.numpy_pickle")
    module.NumpyArrayWrapper = NumpyArrayWrapper  # type: ignore[attr-defined]
    sys.modules |= {"joblib": types.ModuleType("joblib"), "joblib.numpy_pickle": module}
    try:
        with open(path, "wb") as stream:
            pickler = _Pickler(stream, protocol=2)
            pickler.stream = stream
            pickler.dump(contents)
    finally:
        del sys.modules["joblib.numpy_pickle"], sys.modules["joblib"]
    return path
