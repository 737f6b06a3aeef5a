"""The files SMPL, SMPL-H and SMPL-X come in, .pkl and .npz as the `smplx` package loads them, read as data."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.body.inert_pickle import dense_array, read_pickle, read_pickled
from schemas.errors import AssetError

Kind = Literal["smpl", "smplh", "smplx"]
KIND_NAMES: dict[str, str] = {"smpl": "SMPL", "smplh": "SMPL-H", "smplx": "SMPL-X"}
COUNTS: dict[Kind, tuple[int, int, int]] = {
    "smpl": (6890, 13776, 24), "smplh": (6890, 13776, 52), "smplx": (10475, 20908, 55),
}  # fmt: skip
"""Vertices, faces, joints."""
REQUIRED = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
MAX_MEMBER_BYTES = 1 << 30
"""One array of an .npz; the largest of SMPL-X's takes 122 million."""
REMEDY = (
    "Give the file of SMPL (basicModel_*.pkl, SMPL_*.pkl), SMPL-H (SMPLH_*.pkl, model.npz) or SMPL-X (SMPLX_*.npz) as "
    "its makers ship it."
)


def model_arrays(source: Path) -> dict[str, np.ndarray]:
    """The required arrays of a file, dense; nothing in it is run. Raises AssetError."""
    if source.suffix.lower() == ".npz":
        return _from_npz(source)
    contents = read_pickle(source)
    if not isinstance(contents, dict):
        raise AssetError(
            f"{source} holds {type(contents).__name__}, expected a dictionary of arrays.", remedy=REMEDY
        )
    return _dense(source, sorted(map(str, contents)), lambda key: dense_array(contents[key]))


def kind_of(source: Path, raw: Mapping[str, np.ndarray]) -> Kind:
    """Whose body the arrays are, by their counts of vertices, faces and joints. Raises AssetError."""
    places = (("v_template", 0), ("f", 0), ("weights", 1))
    found = tuple(raw[key].shape[axis] if raw[key].ndim == 2 else 0 for key, axis in places)
    for kind, counts in COUNTS.items():
        if found == counts:
            return kind
    vertices, faces, joints = found
    raise AssetError(
        f"{source}: found {vertices} vertices, {faces} faces, {joints} joints, expected one of "
        + ", ".join(f"{KIND_NAMES[kind]}'s {counts}" for kind, counts in COUNTS.items())
        + ".",
        remedy=REMEDY,
    )


def shape_count(kind: Kind, raw: Mapping[str, np.ndarray]) -> int:
    """Shape coefficients among the columns of shapedirs; SMPL-X has its expressions behind them, 100 or 10."""
    columns: int = raw["shapedirs"].shape[-1]
    if kind != "smplx":
        return columns
    return columns - 100 if columns >= 400 else max(10, columns - 10)


def _dense(source: Path, known: list[str], take: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
    arrays = {}
    for key in REQUIRED:
        if key not in known:
            raise AssetError(f"{source}: {key}: found {known}.", remedy=REMEDY)
        try:
            arrays[key] = take(key)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise AssetError(f"{source}: {key}: {error}.", remedy=REMEDY) from error
    return arrays


def _from_npz(source: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(source) as archive:
            names = sorted(name.removesuffix(".npy") for name in archive.namelist())
            if "kind" in names:
                raise AssetError(f"{source} has been imported already.", remedy="Give it as body.file.")
            return _dense(source, names, lambda key: _member(archive, key, f"{source}: {key}"))
    except (OSError, RuntimeError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise AssetError(f"{source} cannot be read ({error}).", remedy=REMEDY) from error


def _member(archive: zipfile.ZipFile, key: str, name: str) -> np.ndarray:
    """One array; those of objects (a sparse regressor, say) hold a pickle, which is read as data."""
    if archive.getinfo(f"{key}.npy").file_size > MAX_MEMBER_BYTES:
        raise ValueError(f"more than {MAX_MEMBER_BYTES} bytes")
    data = archive.read(f"{key}.npy")
    try:
        return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except ValueError:
        return dense_array(read_pickled(data, name))
