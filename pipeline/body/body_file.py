"""Reading a body from an SMPL-layout .npz and refusing, by key, whatever is not one. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from pipeline.body.smpl_layout import JOINT_PARENTS
from pipeline.geometry.array_types import Floats
from schemas.conventions import BETA_COUNT, JOINT_COUNT, LANDMARK_COUNT
from schemas.errors import AssetError

_POSE_FEATURES = 9 * (JOINT_COUNT - 1)
_NO_PARENT = 2**32 - 1
"""How SMPL's unsigned tables write the root's parent."""
_WEIGHT_SUM_TOLERANCE = 1e-3
_REGRESSOR_SUM_TOLERANCE = 1e-2
"""SMPL's joint regressor was fitted with a sum near one, not forced to it."""
_SPARSE_PARTS = ("data", "indices", "indptr", "shape")
_KEYS = {
    "v_template", "shapedirs", "J_regressor", "weights", "kintree_table", "f", "posedirs", "landmark_regressor",
    "kind", *(f"J_regressor_{part}" for part in _SPARSE_PARTS),
}  # fmt: skip
KINDS = ("smpl", "smplh", "smplx", "open")
"""Whose body a file holds; one that does not say is SMPL's."""
_MODELS = {52: "an SMPL-H file", 55: "an SMPL-X file"}
"""By their number of joints."""
_UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, MemoryError, OverflowError, RuntimeError, zipfile.BadZipFile, zlib.error
)  # fmt: skip
"""What numpy and zipfile raise for damaged, encrypted, absurdly large or pickled members."""
_CONVERT = (
    "Convert it once: python -m pipeline body import body.pkl --out body.npz reads the numbers without running "
    "anything; then give the .npz."
)
_IMPORT = "Import it once: python -m pipeline body import {} --out body.npz; then give that .npz."
_SOURCE = "Use a body in SMPL layout (24 joints) saved with numpy.savez, or the open body that ships here."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BodyArrays:
    """A body file's checked contents; floating point as float64."""

    template: np.ndarray
    """(V, 3) metres."""
    shapedirs: np.ndarray
    """(V, 3, 10) metres per unit of beta."""
    joint_regressor: np.ndarray
    """(24, V)."""
    weights: np.ndarray
    """(V, 24), rows that sum to one."""
    parents: np.ndarray
    """(24,) int64, -1 for the root."""
    faces: np.ndarray
    """(F, 3) int32."""
    posedirs: np.ndarray | None
    """(V, 3, 207) metres per entry of the joints' rotation matrices minus the identity."""
    landmark_regressor: np.ndarray | None
    """(33, V), rows that sum to one."""
    kind: str = "smpl"
    """One of KINDS."""


def read_body(path: Path) -> BodyArrays:
    """The arrays of an SMPL-layout .npz.

    Keys: v_template (V, 3), shapedirs (V, 3, C >= 10; further columns are cut), J_regressor (24, V) or its sparse
    parts J_regressor_{data, indices, indptr, shape} (columns compressed, as SMPL has it), weights (V, 24),
    kintree_table (2, 24), f (F, 3), and optionally posedirs (V, 3, 207), landmark_regressor (33, V),
    kind (a text: `smpl`, the default, `smplh`, `smplx` or `open`).
    Raises AssetError that names file, key, what was found and what was expected.
    """
    return check_body(path, _load(path))


def check_body(path: Path, raw: Mapping[str, np.ndarray]) -> BodyArrays:
    """The arrays of `read_body`, from arrays that came out of a file in another way."""
    return _Reader(path, raw).arrays()


def check_sha256(path: Path, facts_path: Path) -> None:
    """Raises AssetError unless the file's SHA-256 is the one its facts (JSON) state."""
    try:
        expected = json.loads(facts_path.read_text())["sha256"]
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AssetError(
            f"{path}: the shipped body or its facts in {facts_path.name} cannot be read ({error}).",
            remedy="Install humandepth again.",
        ) from error
    if found != expected:
        raise AssetError(
            f"{path}: SHA-256 is {found}, expected {expected}: this is not the body that was shipped.",
            remedy="Install humandepth again, or remake it with `python -m pipeline body build`.",
        )


def _load(path: Path) -> dict[str, np.ndarray]:
    """Every plain array of the archive; object arrays, which would have to be unpickled, are refused by name."""
    if path.suffix.lower() in (".pkl", ".pickle"):
        raise AssetError(f"{path}: a pickle runs code when it is loaded, so none is read.", remedy=_CONVERT)
    if not path.is_file():
        raise AssetError(f"{path}: no such file.", remedy="Check the path of the body file.")
    if not zipfile.is_zipfile(path):
        raise AssetError(f"{path}: not an .npz archive (a pickle under another name?).", remedy=_CONVERT)
    arrays, key = {}, "the archive"
    try:
        with np.load(path, allow_pickle=False) as archive:
            for key in archive.files:
                if key in _KEYS:
                    arrays[key] = archive[key]
    except _UNREADABLE as error:
        message = f"{path}: {key}: found {type(error).__name__} ({error}), expected a plain array."
        raise AssetError(message, remedy=_CONVERT) from error
    return arrays


class _Reader:
    """Turns raw arrays into checked ones; knows the file's name for its errors."""

    def __init__(self, path: Path, raw: Mapping[str, np.ndarray]) -> None:
        self._path, self._raw = path, raw

    def arrays(self) -> BodyArrays:
        """All checks in the order in which one error explains the next."""
        template = self._floats("v_template", (None, 3))
        count = len(template)
        shapedirs = self._floats("shapedirs", (count, 3, None))
        if shapedirs.shape[2] < BETA_COUNT:
            self._refuse("shapedirs", f"{shapedirs.shape[2]} columns", f"at least {BETA_COUNT}")
        self._refuse_other_models()
        weights = self._floats("weights", (count, JOINT_COUNT))
        self._sums_to_one("weights", weights, _WEIGHT_SUM_TOLERANCE)
        if weights.min() < -1e-6:
            self._refuse("weights", f"{weights.min():.3g}", "no negative weight")
        return BodyArrays(
            template=template,
            shapedirs=np.ascontiguousarray(shapedirs[..., :BETA_COUNT]),
            joint_regressor=self._joint_regressor(count),
            weights=weights / weights.sum(axis=1, keepdims=True),
            parents=self._parents(),
            faces=self._faces(count),
            posedirs=self._posedirs(count),
            landmark_regressor=self._landmark_regressor(count),
            kind=self._kind(),
        )

    def _refuse_other_models(self) -> None:
        shape = np.shape(self._raw.get("weights", ()))
        if len(shape) == 2 and shape[1] in _MODELS:
            raise AssetError(
                f"{self._path}: weights: found {shape[1]} joints, {_MODELS[shape[1]]}, expected {JOINT_COUNT}.",
                remedy=_IMPORT.format(self._path),
            )

    def _kind(self) -> str:
        given = self._raw.get("kind", np.array("smpl"))
        if given.dtype.kind != "U" or given.shape != () or str(given) not in KINDS:
            self._refuse("kind", repr(given.tolist()), f"one of {', '.join(KINDS)}")
        return str(given)

    def _joint_regressor(self, count: int) -> np.ndarray:
        sparse = {part: f"J_regressor_{part}" for part in _SPARSE_PARTS}
        if "J_regressor" in self._raw or not any(key in self._raw for key in sparse.values()):
            regressor = self._floats("J_regressor", (JOINT_COUNT, count))
        else:
            regressor = self._dense(sparse, count)
        self._sums_to_one("J_regressor", regressor, _REGRESSOR_SUM_TOLERANCE)
        return regressor

    def _dense(self, keys: Mapping[str, str], count: int) -> np.ndarray:
        """(24, V) of compressed sparse columns: column c holds data[indptr[c]:indptr[c + 1]] in rows indices[...]."""
        values = self._floats(keys["data"], (None,))
        rows = self._integers(keys["indices"], (len(values),), JOINT_COUNT)
        starts = self._integers(keys["indptr"], (count + 1,), len(values) + 1)
        shape = self._integers(keys["shape"], (2,))
        if tuple(shape) != (JOINT_COUNT, count):
            self._refuse(keys["shape"], f"{tuple(map(int, shape))}", f"{(JOINT_COUNT, count)}")
        if starts[0] != 0 or starts[-1] != len(values) or (np.diff(starts) < 0).any():
            self._refuse(keys["indptr"], "pointers out of order", f"0 ascending to {len(values)}")
        regressor = np.zeros((JOINT_COUNT, count))
        np.add.at(regressor, (rows, np.repeat(np.arange(count), np.diff(starts))), values)
        return regressor

    def _posedirs(self, count: int) -> np.ndarray | None:
        if "posedirs" not in self._raw:
            return None
        return self._floats("posedirs", (count, 3, _POSE_FEATURES))

    def _landmark_regressor(self, count: int) -> Floats | None:
        if "landmark_regressor" not in self._raw:
            return None
        regressor = self._floats("landmark_regressor", (LANDMARK_COUNT, count))
        self._sums_to_one("landmark_regressor", regressor, _REGRESSOR_SUM_TOLERANCE)
        return np.asarray(regressor / regressor.sum(axis=1, keepdims=True))

    def _parents(self) -> np.ndarray:
        table = self._integers("kintree_table", (2, JOINT_COUNT))
        parents = np.where(table[0] == _NO_PARENT, -1, table[0])
        if tuple(parents) != JOINT_PARENTS:
            self._refuse("kintree_table", f"parents {parents.tolist()}", f"SMPL's {list(JOINT_PARENTS)}")
        if not np.array_equal(table[1], np.arange(JOINT_COUNT)):
            self._refuse("kintree_table", f"joints {table[1].tolist()}", f"0 ... {JOINT_COUNT - 1} in order")
        return parents

    def _faces(self, count: int) -> np.ndarray:
        return self._integers("f", (None, 3), count).astype(np.int32)

    def _floats(self, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
        array = self._array(key, shape)
        if array.dtype.kind != "f":
            self._refuse(key, f"dtype {array.dtype}", "floating point")
        if not np.isfinite(array).all():
            count = int((~np.isfinite(array)).sum())
            self._refuse(key, f"{count} values that are not finite", "finite numbers")
        return np.ascontiguousarray(array, dtype=np.float64)

    def _integers(self, key: str, shape: tuple[int | None, ...], stop: int | None = None) -> np.ndarray:
        """int64; with `stop`, all of them in [0, stop)."""
        array = self._array(key, shape)
        if array.dtype.kind not in "iu":
            self._refuse(key, f"dtype {array.dtype}", "integers")
        array = array.astype(np.int64)
        if stop is not None and (array.min() < 0 or array.max() >= stop):
            self._refuse(key, f"values from {array.min()} to {array.max()}", f"integers in [0, {stop})")
        return array

    def _array(self, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
        if key not in self._raw:
            self._refuse(key, f"only {sorted(self._raw) or 'nothing known'}", "this key")
        array = self._raw[key]
        fits = array.ndim == len(shape) and all(
            want in (None, have) for want, have in zip(shape, array.shape)
        )
        if not fits or array.size == 0:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            self._refuse(key, f"shape {array.shape}", f"({wanted})")
        return array

    def _sums_to_one(self, key: str, array: np.ndarray, tolerance: float) -> None:
        sums = array.sum(axis=1)
        row = int(np.abs(sums - 1).argmax())
        if abs(sums[row] - 1) > tolerance:
            self._refuse(
                key, f"row {row} summing to {sums[row]:.6g}", f"rows that sum to 1 within {tolerance}"
            )

    def _refuse(self, key: str, found: str, expected: str) -> NoReturn:
        raise AssetError(f"{self._path}: {key}: found {found}, expected {expected}.", remedy=_SOURCE)
