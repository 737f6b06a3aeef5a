"""Bodies that another program found: one neutral file format, and where its bodies stand in a camera.

A file holds N rows, each one person in one frame, as an .npz of plain arrays or a Parquet table of the same names:

    person        (N,) integers        who: any number, the same in all frames of a person
    frame_index   (N,) integers        frame of the clip from its very start, in presentation order, and/or
    pts_s         (N,) seconds         presentation time
    pose          (N, 24, 3) radians   axis-angles of SMPL's joints, the first the global rotation in camera axes
    betas         (N, 10)              shape
    translation_m (N, 3) metres        added after posing, camera axes (x right, y down, z forward), with
    focal_px      (N,) pixels          the full image's focal length, and where it is not the image's centre
    centre_px     (N, 2) pixels        the principal point (pixel centres at +0.5);                              or
    weak          (N, 3)               s, tx, ty: x2d = s (X_xy + t) in [-1, 1] of a square crop, with
    crop_px       (N, 3) pixels        the crop's centre u, centre v and side in the full image.

Optional: `cam_from_world` (N, 4, 4), where pose and translation are those of a world; `rest_pelvis_m` (N, 3), where
the pelvis of the body the translation belongs to lies at rest (else it is taken to be that of the body in use);
`focal_is_assumed` (N,), true where the focal length is a constant of the other program and says nothing about the
film; `shape_space`, a text: whose betas they are, `smpl` (the default), `smplx`, `open`, or `none` for no shape.
In an .npz one value may stand for all rows.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.body.npz_archive import write_npz
from pipeline.geometry.camera import Camera
from pipeline.geometry.rigid import rotation_from_rotvec, rotvec_from_rotation
from pipeline.tracking.articulated_body import ArticulatedBody
from schemas.conventions import BETA_COUNT, JOINT_COUNT
from schemas.errors import SourceError

SHAPE_SPACES = ("smpl", "smplx", "open", "none")
_SHAPES: dict[str, tuple[int, ...]] = {
    "person": (), "frame_index": (), "pts_s": (), "pose": (JOINT_COUNT, 3), "betas": (BETA_COUNT,),
    "translation_m": (3,), "focal_px": (), "centre_px": (2,), "weak": (3,), "crop_px": (3,),
    "cam_from_world": (4, 4), "rest_pelvis_m": (3,), "focal_is_assumed": (),
}  # fmt: skip
_TYPES: dict[str, Any] = {"person": np.int64, "frame_index": np.int64, "focal_is_assumed": np.bool_}
_REMEDY = "Make it with `python -m pipeline body convert RESULT --format NAME --out CLIP_ID.npz`."
_UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error,
    pa.ArrowException,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImportedBodies:
    """N bodies; see the module. None where the file does not say."""

    person: np.ndarray
    pose: np.ndarray
    betas: np.ndarray
    frame_index: np.ndarray | None = None
    pts_s: np.ndarray | None = None
    translation_m: np.ndarray | None = None
    focal_px: np.ndarray | None = None
    centre_px: np.ndarray | None = None
    weak: np.ndarray | None = None
    crop_px: np.ndarray | None = None
    cam_from_world: np.ndarray | None = None
    rest_pelvis_m: np.ndarray | None = None
    focal_is_assumed: np.ndarray | None = None
    shape_space: str = "smpl"

    def __len__(self) -> int:
        return len(self.person)

    @property
    def is_weak(self) -> bool:
        """Whether bodies are placed by weak perspective in crops."""
        return self.weak is not None

    @property
    def spacing_s(self) -> float:
        """Median time between one body and the next, in seconds; infinite where no two have different times."""
        steps = np.diff(np.unique(self.pts_s)) if self.pts_s is not None else np.empty(0)
        return float(np.median(steps)) if len(steps) else np.inf

    def rows(self, chosen: np.ndarray) -> ImportedBodies:
        """Some of the rows, by index."""
        values = {name: getattr(self, name) for name in _SHAPES}
        return replace(self, **{name: value[chosen] for name, value in values.items() if value is not None})


def bodies_from_arrays(name: str, given: Mapping[str, Any]) -> ImportedBodies:
    """Checked bodies of arrays by the names of the module; one value may stand for all rows. Raises SourceError."""

    def refuse(key: str, found: object, expected: str) -> SourceError:
        return SourceError(f"{name}: {key}: found {found}, expected {expected}.", remedy=_REMEDY)

    unknown = sorted(set(given) - {field.name for field in fields(ImportedBodies)})
    if unknown:
        raise refuse(unknown[0], "an unknown name", f"one of {', '.join(_SHAPES)}, shape_space")
    for key in ("person", "pose", "betas"):
        if key not in given:
            raise refuse(key, "nothing", "this array")
    count = len(np.atleast_1d(given["pose"]))
    arrays: dict[str, np.ndarray] = {}
    for key, shape in _SHAPES.items():
        if given.get(key) is None:
            continue
        array = np.asarray(given[key])
        if array.dtype.kind not in "biuf" or array.shape not in (shape, (1, *shape), (count, *shape)):
            raise refuse(key, f"{array.dtype} {array.shape}", f"numbers of shape {(count, *shape)}")
        arrays[key] = np.broadcast_to(array.astype(_TYPES.get(key, np.float64), copy=False), (count, *shape))
        if not np.isfinite(arrays[key]).all():
            raise refuse(key, "NaN or infinity", "finite numbers")
    if not {"frame_index", "pts_s"} & arrays.keys():
        raise refuse("frame_index", "nothing, and no pts_s", "one of the two")
    if not ({"translation_m", "focal_px"} <= arrays.keys() or {"weak", "crop_px"} <= arrays.keys()):
        raise refuse("translation_m", sorted(arrays), "translation_m with focal_px, or weak with crop_px")
    sizes = {"focal_px": arrays.get("focal_px")}
    sizes |= {key: arrays[key][:, at] for key, at in (("weak", 0), ("crop_px", 2)) if key in arrays}
    for key, size in sizes.items():
        if size is not None and not (size > 0).all():
            raise refuse(key, "a size of 0 or less", "sizes above 0")
    for key in ("frame_index", "pts_s"):
        if key in arrays and len(set(zip(arrays["person"].tolist(), arrays[key].tolist()))) < count:
            raise refuse(key, "a person twice in one frame", "each person once in a frame")
    space = str(given.get("shape_space", "smpl"))
    if space not in SHAPE_SPACES:
        raise refuse("shape_space", space, f"one of {', '.join(SHAPE_SPACES)}")
    return ImportedBodies(**arrays, shape_space=space)


def read_bodies(path: Path) -> ImportedBodies:
    """The bodies of a file in the neutral format. Raises SourceError, also for pickles, which are never opened."""
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            given = {key: _column(table, key) for key in table.column_names}
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                given = {key: archive[key] for key in archive.files}
        else:
            raise SourceError(f"{path} is neither .npz nor .parquet.", remedy=_REMEDY)
    except _UNREADABLE as error:
        raise SourceError(f"{path} cannot be read ({error}).", remedy=_REMEDY) from error
    return bodies_from_arrays(str(path), given)


def require_shape_space(bodies: ImportedBodies, space: str, path: Path) -> None:
    """Raises SourceError where betas are not those of the body in use, whose space is one of `SHAPE_SPACES`."""
    if bodies.shape_space not in (space, "none"):
        raise SourceError(
            f"{path} has betas of {bodies.shape_space!r}, the body in use those of {space!r}.",
            remedy="Give that body as body.file, or convert the bodies again with --drop-betas.",
        )


def bodies_path(folder: Path, clip_id: str) -> Path | None:
    """The clip's file in a folder of bodies; None where there is none."""
    paths = (folder / f"{clip_id}{suffix}" for suffix in (".npz", ".parquet"))
    return next((path for path in paths if path.is_file()), None)


def write_bodies(path: Path, bodies: ImportedBodies) -> None:
    """The neutral format, as .npz or .parquet."""
    arrays = {key: getattr(bodies, key) for key in _SHAPES if getattr(bodies, key) is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        write_npz(path, arrays | {"shape_space": np.array(bodies.shape_space)})
    elif path.suffix == ".parquet":
        columns = {}
        for key, array in arrays.items():
            flat = pa.array(np.ascontiguousarray(array).reshape(-1))
            size = int(np.prod(_SHAPES[key], dtype=int))
            columns[key] = pa.FixedSizeListArray.from_arrays(flat, size) if _SHAPES[key] else flat
        columns["shape_space"] = pa.array([bodies.shape_space] * len(bodies))
        pq.write_table(pa.table(columns), path)
    else:
        raise SourceError(
            f"{path} is neither .npz nor .parquet.", remedy="Give --out NAME.npz or NAME.parquet."
        )


def in_camera(bodies: ImportedBodies, body: ArticulatedBody) -> ImportedBodies:
    """The same meshes with pose and translation in camera axes, for the body in use.

    The global rotation turns about the pelvis J(beta), so with x_cam = R x + t a pose's first rotation becomes R R_0
    and the translation R (J + b) + t - J. Where `rest_pelvis_m` P is given, b means P + b - J of the body in use.
    """
    pose, translation = bodies.pose, bodies.translation_m
    pelvis = body.joint_template[0] + bodies.betas @ body.joint_shapedirs[0].T
    if translation is None:
        if bodies.rest_pelvis_m is None or bodies.weak is None:
            return bodies
        away = bodies.rest_pelvis_m - pelvis
        weak = bodies.weak + np.pad(away[:, :2], ((0, 0), (1, 0)))
        return replace(bodies, weak=weak, rest_pelvis_m=None)
    place = translation + (pelvis if bodies.rest_pelvis_m is None else bodies.rest_pelvis_m)
    if bodies.cam_from_world is not None:
        turn, move = bodies.cam_from_world[:, :3, :3], bodies.cam_from_world[:, :3, 3]
        root = rotvec_from_rotation(turn @ rotation_from_rotvec(pose[:, 0]))
        pose = np.concatenate([root[:, None], pose[:, 1:]], axis=1)
        place = (turn @ place[..., None])[..., 0] + move
    return replace(bodies, pose=pose, translation_m=place - pelvis, cam_from_world=None, rest_pelvis_m=None)


def source_camera(bodies: ImportedBodies, hw: tuple[int, int]) -> Camera:
    """The full image's camera that translations were found with: one for all rows."""
    assert bodies.focal_px is not None
    centre = np.array([hw[1] / 2, hw[0] / 2])
    if bodies.centre_px is not None and len(bodies):
        centre = np.median(bodies.centre_px, axis=0)
    focal = float(np.median(bodies.focal_px))
    return Camera(np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1.0]]), hw)


def translation_with_same_image(
    translation: np.ndarray, focal_px: np.ndarray, centre_px: np.ndarray, camera: Camera
) -> np.ndarray:
    """(N, 3) places with the same image at the body's origin through another lens.

    Z' = Z f' / f and (X', Y') = ((u, v) - c') Z' / f', (u, v) the image through the old one (f, c).
    """
    depth = translation[:, 2] * camera.K[0, 0] / focal_px
    px = focal_px[:, None] * translation[:, :2] / translation[:, 2:] + centre_px
    return np.column_stack([(px - camera.K[:2, 2]) * (depth / camera.K[0, 0])[:, None], depth])


def _column(table: pa.Table, key: str) -> np.ndarray | str:
    column = table.column(key).combine_chunks()
    if key == "shape_space":
        return str(column[0].as_py()) if len(column) else "smpl"
    if pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type):
        return np.stack([np.asarray(item) for item in column.to_pylist()]).reshape(-1, *_SHAPES.get(key, ()))
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values
