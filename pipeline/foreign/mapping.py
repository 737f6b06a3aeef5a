"""Any other file of arrays, by a JSON file that says where our arrays are in it.

The mapping is a dictionary of our names (see `tracking.imported_bodies`) and places:

    {"person": 0,
     "frame_index": "rows[0]",
     "global_orient": {"at": "smpl/0/root", "rotations": "rot6d-rows"},
     "body_pose": {"at": "smpl/0/body", "rotations": "rot6d-rows"},
     "betas": "smpl/0/shape",
     "translation_m": "rows[1:4]",
     "K": "camera/K",
     "shape_space": "smplx"}

* A place is a path of keys joined by `/`: a text, a whole number or a place in a list. `[3]` behind it takes one
  column of the last axis, `[3:75]` columns 3 to 74. A number stands for itself in all rows: one person, one lens.
* `pose` holds all joints, 24, 22 (SMPL's without hands), 52 (SMPL-H) or 55 (SMPL-X); `joints` says which of `smpl`,
  `body`, `smplh`, `smplx` where several fit. Root and body may be apart: `global_orient` with `body_pose`
  (23, 21, 51 or 54 joints). The joints up to the wrists are taken, hands, jaw and eyes left out.
* `rotations` is one of axis-angle, matrix, rot6d-columns (SPIN, HMR: view(3, 2)), rot6d-rows (PyTorch3D: the matrix's
  first two rows), rot6d-stacked (its first two columns one after the other), quaternion-wxyz, quaternion-xyzw.
  Axis-angles and matrices need not be named. The orders of rot6d must be: confused they turn joints by up to
  178 degrees.
* `K`, (3, 3) or one a row, is `focal_px` and `centre_px` in one. `cam_from_world` is (4, 4) or one a row.
* `shape_space`: smpl (if nothing is said), smplx, open or none. betas beyond ten are left out.

Axes that do not fit are refused and never reshaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.body.inert_pickle import dense_array
from pipeline.foreign.film import Film, Results
from pipeline.foreign.rotations import FORMS, LAYOUTS, joints_of, rotvecs_from, smpl_pose
from pipeline.tracking.imported_bodies import SHAPE_SPACES, bodies_from_arrays
from schemas.conventions import BETA_COUNT
from schemas.errors import SourceError

LAST_AXES: dict[str, tuple[int, ...]] = {
    "person": (), "frame_index": (), "pts_s": (), "translation_m": (3,), "focal_px": (), "centre_px": (2,),
    "weak": (3,), "crop_px": (3,), "cam_from_world": (4, 4), "rest_pelvis_m": (3,), "focal_is_assumed": (), "K": (3, 3),
}  # fmt: skip
ROTATIONS = ("pose", "global_orient", "body_pose")
_COLUMNS = re.compile(r"(.*)\[(\d+)(?::(\d+))?\]$")


def from_mapping(contents: Any, mapping: Any, film: Film) -> Results:
    """Bodies of a file by a mapping (see the module). Raises SourceError that says what was found and what fits."""
    known = {*LAST_AXES, *ROTATIONS, "betas", "shape_space"}
    if not isinstance(mapping, dict) or set(mapping) - known:
        wrong = sorted(set(mapping) - known) if isinstance(mapping, dict) else [type(mapping).__name__]
        raise SourceError(
            f"the mapping has unknown keys: {', '.join(map(repr, wrong))}.",
            remedy=f"Known: {', '.join(sorted(known))}.",
        )
    given: dict[str, Any] = {"pose": _pose(contents, mapping)}
    count = len(given["pose"])
    for key in mapping:
        if key in LAST_AXES:
            given[key] = _rows(key, _value(contents, key, mapping[key]), count)
    if "betas" in mapping:
        given["betas"] = _betas(_value(contents, "betas", mapping["betas"]), count)
    if "shape_space" in mapping:
        if mapping["shape_space"] not in SHAPE_SPACES:
            raise SourceError(
                f"the mapping's shape_space cannot be {mapping['shape_space']!r}.",
                remedy=f"Known: {', '.join(SHAPE_SPACES)}.",
            )
        given["shape_space"] = mapping["shape_space"]
    if "K" in given:
        lens = given.pop("K")
        given |= {"focal_px": lens[:, 0, 0], "centre_px": lens[:, :2, 2]}
    if film.focal_px is not None:
        given["focal_px"] = film.focal_px
    return Results(bodies=bodies_from_arrays("mapped results", given))


def _pose(contents: Any, mapping: Mapping[str, Any]) -> np.ndarray:
    """(N, 24, 3) of `pose`, or of `global_orient` and `body_pose`."""
    if ("pose" in mapping) == ("global_orient" in mapping) or ("global_orient" in mapping) != (
        "body_pose" in mapping
    ):
        raise SourceError(
            f"the mapping has {' and '.join(key for key in ROTATIONS if key in mapping) or 'no'} for a pose.",
            remedy="Give either pose, or global_orient and body_pose.",
        )
    if "pose" in mapping:
        return smpl_pose(_rotations(contents, "pose", mapping["pose"], 0))
    root = _rotations(contents, "global_orient", mapping["global_orient"], None)
    body = _rotations(contents, "body_pose", mapping["body_pose"], 1)
    if len(root) != len(body):
        raise SourceError(
            f"the mapping's global_orient has {len(root)} rows, and its body_pose {len(body)}.",
            remedy="Name arrays with equal numbers of rows.",
        )
    return smpl_pose(np.concatenate([root, body], axis=1))


def _rotations(contents: Any, key: str, place: Any, less: int | None) -> np.ndarray:
    """(N, J, 3): all joints of a layout, `less` fewer, or where that is None a single one."""
    said = place if isinstance(place, dict) else {"at": place}
    form, layout = said.get("rotations"), said.get("joints")
    if set(said) - {"at", "rotations", "joints"} or "at" not in said:
        raise SourceError(
            f"the mapping's {key} has the keys {', '.join(said)}.",
            remedy="Give `at`, and `rotations` and `joints` where needed.",
        )
    if (form is not None and form not in FORMS) or (layout is not None and layout not in LAYOUTS):
        raise SourceError(
            f"the mapping's {key} has rotations {form!r} and joints {layout!r}.",
            remedy=f"Known rotations: {', '.join(FORMS)}; known joints: {', '.join(LAYOUTS)}.",
        )
    value = _value(contents, key, said["at"])
    if less is None:
        return rotvecs_from(value, 1, form)
    counts = (LAYOUTS[layout],) if layout is not None else tuple(LAYOUTS.values())
    return rotvecs_from(value, joints_of(value, form, tuple(count - less for count in counts)), form)


def _value(contents: Any, key: str, place: Any) -> np.ndarray:
    """The numbers at a place, or a number that stands for itself."""
    if isinstance(place, int | float) and not isinstance(place, bool):
        return np.asarray(place)
    if not isinstance(place, str):
        raise SourceError(
            f"the mapping's {key} cannot be {place!r}.",
            remedy='Give a path such as "smpl/betas", or a number.',
        )
    columns = _COLUMNS.match(place)
    value = contents
    for word in (columns.group(1) if columns else place).split("/"):
        value = _inside(value, word, f"the mapping's {key}: {place!r}")
    try:
        array = dense_array(value)
    except ValueError as error:
        raise SourceError(
            f"the mapping's {key}: {place!r} is no array ({error}).", remedy="Name an array of numbers."
        ) from error
    if columns is None:
        return array
    begin, end = int(columns.group(2)), int(columns.group(3) or int(columns.group(2)) + 1)
    if array.ndim < 2 or not begin < end <= array.shape[-1]:
        raise SourceError(
            f"the mapping's {key}: {place!r} asks for columns of an array of shape {array.shape}.",
            remedy="Columns count from 0 along the last axis.",
        )
    return array[..., begin] if columns.group(3) is None else array[..., begin:end]


def _inside(value: Any, word: str, where: str) -> Any:
    """What stands under a key, a whole number or a place in a list."""
    if isinstance(value, dict):
        if word in value:
            return value[word]
        if re.fullmatch(r"-?\d+", word) and int(word) in value:
            return value[int(word)]
        known = f"there is {', '.join(map(repr, list(value)[:20]))}"
    elif isinstance(value, list | tuple):
        if word.isdecimal() and int(word) < len(value):
            return value[int(word)]
        known = f"there is a list of {len(value)}"
    else:
        known = "there is an array" if isinstance(value, np.ndarray) else f"there is {type(value).__name__}"
    raise SourceError(f"{where} is not in the file.", remedy=f"At {word!r} {known}.")


def _rows(key: str, array: np.ndarray, count: int) -> np.ndarray:
    """(count, ...) or (1, ...) of an array whose last axes fit; a column (N, 1) fits a number a row."""
    tail = LAST_AXES[key]
    if array.shape == tail:
        return array.reshape(1, *tail)
    if array.shape in ((count, *tail), (1, *tail)):
        return array
    if array.shape in ((count, 1, *tail), (count, *tail, 1)):
        return array.reshape(count, *tail)
    raise SourceError(
        f"the mapping's {key} is an array of shape {array.shape}.",
        remedy=f"Name one of shape {(count, *tail)} or {tail}.",
    )


def _betas(array: np.ndarray, count: int) -> np.ndarray:
    if array.ndim == 1:
        array = array[None]
    if array.ndim == 3 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 2 or len(array) not in (1, count) or array.shape[1] < BETA_COUNT:
        raise SourceError(
            f"the mapping's betas are an array of shape {array.shape}.",
            remedy=f"Name one of shape {(count, BETA_COUNT)} or {(BETA_COUNT,)}; further coefficients are left out.",
        )
    return array[:, :BETA_COUNT]
