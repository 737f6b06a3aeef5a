"""Rotations in the forms that programs write them in, as axis-angles of SMPL's 24 joints.

Joints of SMPL-H (52) and SMPL-X (55) are SMPL's up to the wrists, numbers 0 to 21. SMPL's two hand joints (22, 23) have
no counterpart among the fingers and stay straight; jaw, eyes and fingers are left out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pipeline.body.inert_pickle import dense_array
from pipeline.geometry.array_types import Floats
from pipeline.geometry.rigid import nearest_rotation, rotvec_from_rotation
from schemas.conventions import JOINT_COUNT
from schemas.errors import SourceError

SHARED_JOINTS = 22
"""Pelvis to wrists: the same joints in the same order in SMPL, SMPL-H and SMPL-X."""
LAYOUTS = {"smpl": 24, "body": 22, "smplh": 52, "smplx": 55}
FORMS: dict[str, tuple[tuple[int, ...], ...]] = {
    "axis-angle": ((3,),), "matrix": ((3, 3),), "rot6d-columns": ((6,), (3, 2)), "rot6d-rows": ((6,), (2, 3)),
    "rot6d-stacked": ((6,), (2, 3)), "quaternion-wxyz": ((4,),), "quaternion-xyzw": ((4,),),
}  # fmt: skip
"""Last axes of one rotation. rot6d, two orthonormalised axes of the matrix (Zhou et al. 2019), comes in three orders:
`rot6d-columns` is view(3, 2), whose columns are the matrix's first two (SPIN, HMR); `rot6d-rows` the matrix's first two
rows, one after the other (PyTorch3D); `rot6d-stacked` its first two columns, one after the other."""
_EXACT = 1e-5
"""Matrices this near to their own inverse's transpose are rotations up to float32."""
_CHUNK = 1 << 16


def rotvecs_from(values: Any, joints: int, form: str | None = None) -> np.ndarray:
    """(N, joints, 3) axis-angles of (N, joints, ...) or (N, joints * ...) numbers in one of `FORMS`.

    Without a form axis-angles and matrices are told apart by their last axes; the others must be named. An array whose
    axes do not fit is refused, never reshaped. Raises SourceError.
    """
    array = np.asarray(dense_array(values))
    for name in (form,) if form is not None else ("matrix", "axis-angle"):
        shaped = _shaped(array, joints, name)
        if shaped is not None:
            return _in_chunks(shaped.reshape(-1, *shaped.shape[2:]), name).reshape(-1, joints, 3)
    fits = [(len(array) if array.ndim else "N", joints, *tail) for tail in _tails(form)]
    raise SourceError(
        f"rotations of shape {array.shape} do not fit {joints} joint(s) as {form or 'axis-angles or matrices'}.",
        remedy=f"What fits: {' or '.join(map(str, fits))}, or the joints' numbers in one axis"
        + ("." if form else "; other forms are named in a --mapping: " + ", ".join(FORMS) + "."),
    )


def smpl_pose(rotvecs: np.ndarray) -> np.ndarray:
    """(N, 24, 3) of (N, 22 or more, 3) axis-angles in the order of SMPL (24), SMPL-H (52) or SMPL-X (55)."""
    if rotvecs.shape[1] == JOINT_COUNT:
        return rotvecs
    return np.pad(rotvecs[:, :SHARED_JOINTS], ((0, 0), (0, JOINT_COUNT - SHARED_JOINTS), (0, 0)))


def root_and_body(root: Any, body: Any, joints: int, form: str | None = None) -> np.ndarray:
    """(N, 24, 3) of a global rotation and `joints` body joints, given apart."""
    return smpl_pose(np.concatenate([rotvecs_from(root, 1, form), rotvecs_from(body, joints, form)], axis=1))


def joints_of(values: Any, form: str | None, counts: tuple[int, ...]) -> int:
    """Which of some numbers of joints an array's axes fit. Raises SourceError where none or several do."""
    array = np.asarray(dense_array(values))
    forms = (form,) if form is not None else ("matrix", "axis-angle")
    fitting = [count for count in counts if any(_shaped(array, count, name) is not None for name in forms)]
    if len(fitting) == 1:
        return fitting[0]
    raise SourceError(
        f"rotations of shape {array.shape} fit {' and '.join(map(str, fitting)) or 'none of ' + str(counts)} joints.",
        remedy="Say which by `joints` and `rotations` in the mapping: " + ", ".join(FORMS) + ".",
    )


def rotation_from_six(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(..., 3, 3) with columns first, second made orthogonal to it, and their cross product (Zhou et al. 2019)."""
    first = first / np.linalg.norm(first, axis=-1, keepdims=True)
    second = second - (first * second).sum(axis=-1, keepdims=True) * first
    second = second / np.linalg.norm(second, axis=-1, keepdims=True)
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def _tails(form: str | None) -> tuple[tuple[int, ...], ...]:
    return FORMS[form] if form is not None else ((3,), (3, 3))


def _shaped(array: np.ndarray, joints: int, form: str) -> np.ndarray | None:
    """(N, joints, *tail), or None where the axes do not fit; a single joint may lack its axis."""
    for tail in FORMS[form]:
        whole = (joints, *tail)
        if array.ndim >= 2 and (
            array.shape[1:] in (whole, (math.prod(whole),)) or (joints == 1 and array.shape[1:] == tail)
        ):
            return array.reshape(len(array), *whole)
    return None


def _in_chunks(values: np.ndarray, form: str) -> np.ndarray:
    """(N, 3) of N rotations, some tens of thousands at a time: matrices of an hour would take gigabytes."""
    found = np.empty((len(values), 3))
    for begin in range(0, len(values), _CHUNK):
        chunk = np.asarray(values[begin : begin + _CHUNK], dtype=np.float64)
        found[begin : begin + _CHUNK] = _rotvecs(chunk, form)
    return found


def _rotvecs(values: np.ndarray, form: str) -> np.ndarray:
    if form == "axis-angle":
        return values
    if form == "matrix":
        return rotvec_from_rotation(_as_rotations(values))
    if form.startswith("quaternion"):
        return _rotvecs_of_quaternions(values if form.endswith("wxyz") else values[:, [3, 0, 1, 2]])
    pairs = values.reshape(-1, 3, 2) if form == "rot6d-columns" else values.reshape(-1, 2, 3).swapaxes(1, 2)
    rotation = rotation_from_six(pairs[..., 0], pairs[..., 1])
    return rotvec_from_rotation(rotation.swapaxes(1, 2) if form == "rot6d-rows" else rotation)


def _as_rotations(matrices: np.ndarray) -> np.ndarray:
    """The nearest rotations, of those matrices that are none already (an SVD takes ten times as long)."""
    away = np.abs(matrices @ matrices.swapaxes(1, 2) - np.eye(3)).max(axis=(1, 2))
    wrong = ~(away < _EXACT) | (np.linalg.det(matrices) < 0)
    if wrong.any():
        matrices = matrices.copy()
        matrices[wrong] = nearest_rotation(matrices[wrong])
    return matrices


def _rotvecs_of_quaternions(quaternions: Floats) -> Floats:
    """(N, 3) of (N, 4) w, x, y, z of any length. Raises SourceError where one is zero."""
    length = np.linalg.norm(quaternions, axis=-1, keepdims=True)
    if not (length > 0).all():
        raise SourceError("a quaternion of length zero.", remedy="Leave such rows out.")
    unit = quaternions / np.where(quaternions[:, :1] < 0, -length, length)
    sine = np.linalg.norm(unit[:, 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, unit[:, :1])
    return np.asarray(unit[:, 1:] * np.where(sine < 1e-12, 2.0, angle / np.maximum(sine, 1e-300)))
