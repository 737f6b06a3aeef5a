"""Files of numbers as joblib and torch write them, in every container they have."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch

COMPRESSIONS: dict[str, Any] = {
    "none": 0, "zlib": 3, "zlib -9": ("zlib", 9), "gzip": ("gzip", 3), "bz2": ("bz2", 3), "lzma": ("lzma", 3),
    "xz": ("xz", 3), "lz4": ("lz4", 3),
}  # fmt: skip


def arrays() -> dict[str, Any]:
    """Arrays of all kinds, alone, in lists of lists, repeated, and beside other things."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(2, 3))
    return {
        "float64": rng.normal(size=(3, 4)),
        "float32": rng.normal(size=(24, 3, 3)).astype(np.float32),
        "fortran": np.asfortranarray(rng.normal(size=(3, 5))),
        "big-endian": np.arange(5, dtype=">f4"),
        "column": rng.normal(size=(4, 4))[:, 1],
        "empty": np.zeros((0, 3)),
        "whole": np.arange(6).reshape(1, 2, 3, 1, 1),
        "bool": np.array([True, False]),
        "text": np.array(["a", "bcd"]),
        "single": np.array(2.5),
        "half": np.arange(3, dtype=np.float16),
        "scalar": np.float32(0.5),
        "lists": [[np.arange(3.0), [np.arange(4)]], shared, [shared, shared]],
        "many": [rng.normal(size=3).astype(np.float32) for _ in range(600)],
        "objects": np.array([{"a": np.arange(2)}, None, "text"], dtype=object),
        "text beside": ["outputs/1.jpg", 5, None, (1, 2)],
    }


def tensors() -> dict[str, Any]:
    """Tensors of all kinds, with views and shared storages."""
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(6, 4, generator=generator)
    return {
        "whole": whole,
        "view": whole[2:5, 1:3],
        "turned": whole.T,
        "stretched": whole[:1, :1].expand(5, 3),
        "double": whole.double(),
        "half": whole.half(),
        "bfloat16": whole.bfloat16(),
        "long": torch.arange(7),
        "bool": torch.tensor([True, False]),
        "byte": torch.arange(3, dtype=torch.uint8),
        "single": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(whole),
        "ordered": OrderedDict(a=whole[0]),
        "size": whole.shape,
        "array": np.arange(3.0),
    }


def joblib_bytes(contents: Any, compress: Any = 0, protocol: int | None = None) -> bytes:
    """A file of joblib."""
    stream = io.BytesIO()
    joblib.dump(contents, stream, compress=compress, protocol=protocol)
    return stream.getvalue()


def torch_bytes(contents: Any, *, legacy: bool = False) -> bytes:
    """A file of torch, in the zip container or the one before it."""
    stream = io.BytesIO()
    torch.save(contents, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


def containers(folder: Path) -> list[bytes]:
    """One file of each container, a few kilobytes each, for mutants to be made of."""
    small = {key: value for key, value in arrays().items() if key != "many"}
    found = [
        joblib_bytes(small),
        joblib_bytes(small, ("zlib", 3)),
        joblib_bytes(small, ("lz4", 1), protocol=2),
    ]
    kinds = tensors()
    found += [torch_bytes(kinds), torch_bytes(kinds, legacy=True), pickle.dumps(kinds), joblib_bytes(kinds)]
    np.save(folder / "tensors.npy", kinds, allow_pickle=True)  # type: ignore[arg-type]
    return [*found, (folder / "tensors.npy").read_bytes()]
