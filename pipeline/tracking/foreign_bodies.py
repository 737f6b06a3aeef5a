"""Results of estimators people use, as the neutral format of `imported_bodies`: names, rotations, cameras.

Each reader takes the file's contents (see `result_files`) and says what its authors' layout means, as they publish it;
no result file of theirs was at hand, so tests write files in those layouts. Joints of SMPL-H
and SMPL-X beyond the wrists have no counterpart; SMPL's two hand joints are left straight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.body.inert_pickle import dense_array
from pipeline.geometry.camera import Camera, translation_from_weak_perspective
from pipeline.geometry.rigid import nearest_rotation, rotvec_from_rotation
from pipeline.tracking.imported_bodies import ImportedBodies, bodies_from_arrays
from schemas.conventions import IMAGE_PX, VECTOR_BETAS, VECTOR_CAMERA, VECTOR_POSE
from schemas.errors import SourceError

SMPL_PELVIS_M = (-0.0018, -0.2233, 0.0282)
SMPLX_PELVIS_M = (0.0031, -0.3514, 0.0120)
"""Where the pelvis lies at rest (neutral mean shapes), in the axes translations are added in."""
SPIN_FOCAL_PX, SPIN_CROP_PX = 5000.0, 256.0
"""4D-Humans' lens: 5000 px for a picture whose longer side is 256 px."""
ROMP_FOCAL_PX, ROMP_IMAGE_PX = 443.4, 512.0
"""ROMP's and BEV's lens: 60 degrees over the longer side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """What results do not say about the film they are of."""

    hw: tuple[int, int] | None = None
    focal_px: float | None = None

    def size(self) -> tuple[int, int]:
        """(h, w); raises SourceError where it was not given."""
        if self.hw is None:
            raise SourceError("these results do not say the film's size.", remedy="Add --image WIDTHxHEIGHT.")
        return self.hw

    def lens_px(self, assumed: Callable[[tuple[int, int]], float]) -> float:
        """The given focal length, or what the authors assume for a picture of this size."""
        return self.focal_px if self.focal_px is not None else assumed(self.size())


def rotvecs_from(values: Any, joints: int) -> np.ndarray:
    """(N, joints, 3) axis-angles of axis-angles (N, 3 J), matrices (N, J, 3, 3) or rot6d (N, 6 J).

    Matrices are brought back to SO(3). rot6d is that of SPIN: view(-1, 3, 2), whose two columns are orthonormalised.
    """
    array = np.asarray(dense_array(values), dtype=np.float64)
    last = array.shape[-1] if array.ndim else 0
    if array.ndim > 2 and array.shape[-2:] == (3, 3) and array.size % (9 * joints) == 0:
        return rotvec_from_rotation(nearest_rotation(array.reshape(-1, joints, 3, 3)))
    if array.size % (6 * joints) == 0 and (last in (6, 6 * joints) or array.shape[-2:] == (3, 2)):
        columns = array.reshape(-1, joints, 3, 2)
        return rotvec_from_rotation(rotation_from_six(columns[..., 0], columns[..., 1]))
    if array.size % (3 * joints) == 0 and last in (3, 3 * joints):
        return array.reshape(-1, joints, 3)
    raise SourceError(
        f"rotations of shape {array.shape} are no {joints} joints.",
        remedy="Axis-angles, matrices (3, 3) and rot6d are known.",
    )


def rotation_from_six(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(..., 3, 3) with columns first, second made orthogonal to it, and their cross product (Zhou et al. 2019)."""
    first = first / np.linalg.norm(first, axis=-1, keepdims=True)
    second = second - (first * second).sum(axis=-1, keepdims=True) * first
    second = second / np.linalg.norm(second, axis=-1, keepdims=True)
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def _array(values: Any, *shape: int) -> np.ndarray:
    return np.asarray(dense_array(values), dtype=np.float64).reshape(shape)


def _smpl_pose(root: Any, body: Any, joints: int) -> np.ndarray:
    """(N, 24, 3) of a global rotation and `joints` body joints; further joints stay straight."""
    turned = np.concatenate([rotvecs_from(root, 1), rotvecs_from(body, joints)], axis=1)
    return np.pad(turned[:, :24], ((0, 0), (0, max(0, 24 - turned.shape[1])), (0, 0)))


def _joined(parts: Iterable[dict[str, Any]], **same: Any) -> ImportedBodies:
    """Rows of several people or frames, one after the other."""
    parts = list(parts)
    if not parts:
        raise SourceError("the results hold nobody.", remedy="Give results of a film with people in it.")
    joined = {key: np.concatenate([np.asarray(part[key]) for part in parts]) for key in parts[0]}
    return bodies_from_arrays("results", joined | same)


def from_4d_humans(contents: Any, film: Film) -> ImportedBodies:
    """PHALP's results of 4D-Humans: {frame: {time, tid, smpl, camera, size, ...}}, a list of people in each.

    smpl holds rotation matrices; camera is the translation for a lens of 5000/256 of the longer side.
    """
    parts, assumed = [], []
    for number, name in enumerate(sorted(contents)):
        frame = contents[name]
        for at, person in enumerate(frame.get("tracked_ids") or frame.get("tid") or []):
            smpl = frame["smpl"][at]
            height, width = _array(frame["size"][at], 2) if "size" in frame else film.size()
            assumed.append(SPIN_FOCAL_PX / SPIN_CROP_PX * max(height, width))
            parts.append(
                {
                    "person": [int(person)],
                    "frame_index": [int(frame["time"]) if "time" in frame else number],
                    "pose": _smpl_pose(smpl["global_orient"], smpl["body_pose"], 23),
                    "betas": _array(smpl["betas"], 1, -1)[:, :10],
                    "translation_m": _array(frame["camera"][at], 1, 3),
                }
            )
    focal = np.array(assumed) if film.focal_px is None else film.focal_px
    return _joined(parts, focal_px=focal, focal_is_assumed=film.focal_px is None)


def from_wham(contents: Any, film: Film) -> ImportedBodies:
    """WHAM's wham_output.pkl: {person: {pose, trans, betas, frame_ids}} in camera axes; its lens is the diagonal."""
    focal = film.lens_px(lambda hw: float(np.hypot(*hw)))
    return _joined(
        (
            {
                "person": np.full(len(_array(found["frame_ids"], -1)), int(person)),
                "frame_index": _array(found["frame_ids"], -1).astype(int),
                "pose": rotvecs_from(found["pose"], 24),
                "betas": _array(found["betas"], -1, 10),
                "translation_m": _array(found["trans"], -1, 3),
            }
            for person, found in contents.items()
        ),
        focal_px=focal,
    )


def from_gvhmr(contents: Any, film: Film) -> ImportedBodies:
    """GVHMR's hmr4d_results.pt: smpl_params_incam (SMPL-X's 21 joints) and K_fullimg of one person, all frames."""
    found = contents["smpl_params_incam"]
    lens = _array(contents["K_fullimg"], -1, 3, 3)
    return _joined(
        [
            {
                "person": np.zeros(len(lens), int),
                "frame_index": np.arange(len(lens)),
                "pose": _smpl_pose(found["global_orient"], found["body_pose"], 21),
                "betas": _array(found["betas"], len(lens), -1)[:, :10],
                "translation_m": _array(found["transl"], -1, 3),
                "focal_px": lens[:, 0, 0],
                "centre_px": lens[:, :2, 2],
            }
        ],
        rest_pelvis_m=np.array(SMPLX_PELVIS_M),
        shape_space="smplx",
    )


def from_tram(contents: Any, film: Film) -> ImportedBodies:
    """TRAM's folder: hps_track_*.npy {pred_rotmat, pred_shape, pred_trans, frame} and camera.npy {img_focal, ...}."""
    camera = contents.get("camera.npy", {})
    if "img_focal" in camera:
        same: dict[str, Any] = {"focal_px": _array(camera["img_focal"], -1)[:1]}
        if "img_center" in camera:
            same["centre_px"] = _array(camera["img_center"], -1, 2)[:1]
    else:
        same = {"focal_px": film.lens_px(lambda hw: float(np.hypot(*hw)))}
    tracks = [found for name, found in contents.items() if name.startswith("hps")]
    return _joined(
        (
            {
                "person": np.full(len(_array(found["frame"], -1)), person),
                "frame_index": _array(found["frame"], -1).astype(int),
                "pose": rotvecs_from(found["pred_rotmat"], 24),
                "betas": _array(found["pred_shape"], -1, 10),
                "translation_m": _array(found["pred_trans"], -1, 3),
            }
            for person, found in enumerate(tracks)
        ),
        **same,
    )


def from_smplerx(contents: Any, film: Film) -> ImportedBodies:
    """SMPLer-X's folder: N_PERSON.npz {global_orient, body_pose, betas, transl}, N_PERSON.json {focal, princpt}.

    Frames are counted from 1, as its frames of a film are. SMPL-X's hands and face are left out.
    """
    parts = []
    for name, found in contents.items():
        stem, _, suffix = name.rpartition(".")
        if suffix != "npz":
            continue
        frame, _, person = stem.rpartition("_")
        meta = contents.get(f"{stem}.json", found)
        parts.append(
            {
                "person": [int(person)],
                "frame_index": [int(frame) - 1],
                "pose": _smpl_pose(found["global_orient"], found["body_pose"], 21),
                "betas": _array(found["betas"], 1, -1)[:, :10],
                "translation_m": _array(found["transl"], 1, 3),
                "focal_px": _array(meta["focal"], -1)[:1],
                "centre_px": _array(meta["princpt"], 1, 2),
            }
        )
    return _joined(parts, rest_pelvis_m=np.array(SMPLX_PELVIS_M), shape_space="smplx")


def from_romp(contents: Any, film: Film) -> ImportedBodies:
    """simple_romp's video_results.npz: {frame: {smpl_thetas, smpl_betas, cam_trans, track_ids}}; 60 degrees of view."""
    results = contents.get("results", contents)
    parts = []
    for number, name in enumerate(sorted(results)):
        found = results[name]
        pose = rotvecs_from(found["smpl_thetas"], 24)
        person = _array(found["track_ids"], -1) if "track_ids" in found else np.arange(len(pose))
        parts.append(
            {
                "person": person.astype(int),
                "frame_index": np.full(len(pose), number),
                "pose": pose,
                "betas": _array(found["smpl_betas"], len(pose), -1)[:, :10],
                "translation_m": _array(found["cam_trans"], -1, 3),
            }
        )
    focal = film.lens_px(lambda hw: ROMP_FOCAL_PX / ROMP_IMAGE_PX * max(hw))
    return _joined(parts, focal_px=focal, focal_is_assumed=film.focal_px is None)


def from_amass(contents: Any, film: Film) -> ImportedBodies:
    """AMASS-style .npz {poses, trans, betas, mocap_framerate}: SMPL-H's joints in a world; extrinsics must be added.

    `cam_from_world` (4, 4) or (T, 4, 4) and `focal_px` are keys of our own; without the first nobody knows where the
    camera stood.
    """
    if "cam_from_world" not in contents:
        raise SourceError(
            "AMASS-style bodies stand in a world, and nothing says where the camera is.",
            remedy="Add the key cam_from_world, (4, 4) or (T, 4, 4), to the .npz, and focal_px or --focal-px.",
        )
    poses = _array(contents["poses"], len(dense_array(contents["poses"])), -1)
    focal = film.focal_px if film.focal_px is not None else _array(contents["focal_px"], -1)
    pose = np.pad(poses[:, :66].reshape(-1, 22, 3), ((0, 0), (0, 2), (0, 0)))
    if poses.shape[1] == 72:
        pose = poses.reshape(-1, 24, 3)
    count = len(pose)
    return _joined(
        [
            {
                "person": np.zeros(count, int),
                "pts_s": np.arange(count) / float(_array(contents["mocap_framerate"], 1)[0]),
                "pose": pose,
                "betas": np.broadcast_to(_array(contents["betas"], -1)[:10], (count, 10)),
                "translation_m": _array(contents["trans"], -1, 3),
            }
        ],
        focal_px=focal,
        cam_from_world=_array(contents["cam_from_world"], -1, 4, 4),
    )


def from_frames(contents: Any, film: Film) -> ImportedBodies:
    """The table `frames` of a dataset of our own (one Parquet shard of one clip)."""
    rows = contents.select(["track_id", "frame_index", "pts_s", "body_vector", "crop_px", "K"]).to_pydict()
    vector, crop = np.array(rows["body_vector"], np.float64), np.array(rows["crop_px"])
    people = {name: number for number, name in enumerate(dict.fromkeys(rows["track_id"]))}
    cameras = [Camera(np.reshape(K, (3, 3)), (IMAGE_PX, IMAGE_PX)) for K in rows["K"]]
    scale = crop[:, 2] / IMAGE_PX
    lens = np.stack([camera.lens for camera in cameras]) * scale[:, None]
    place = [
        translation_from_weak_perspective(row[VECTOR_CAMERA], camera) for row, camera in zip(vector, cameras)
    ]
    return _joined(
        [
            {
                "person": [people[name] for name in rows["track_id"]],
                "frame_index": rows["frame_index"],
                "pts_s": rows["pts_s"],
                "pose": vector[:, VECTOR_POSE].reshape(-1, 24, 3),
                "betas": vector[:, VECTOR_BETAS],
                "translation_m": place,
                "focal_px": lens[:, 0],
                "centre_px": lens[:, 2:] + crop[:, :2] - crop[:, 2:] / 2,
            }
        ],
        shape_space="open",
    )


def from_mapping(contents: Any, mapping: Mapping[str, str], film: Film) -> ImportedBodies:
    """Any other dictionary of arrays: {our name: path in the file, parts joined by '/'}; poses in any rotation form."""
    given: dict[str, Any] = {}
    for key, place in mapping.items():
        value = contents
        for part in place.split("/"):
            if not isinstance(value, dict) or part not in value:
                known = sorted(map(str, value)) if isinstance(value, dict) else "an array"
                raise SourceError(
                    f"the mapping's {key}: {place!r} is not in the file.",
                    remedy=f"At {part!r} there is: {known}.",
                )
            value = value[part]
        given[key] = rotvecs_from(value, 24) if key == "pose" else dense_array(value)
    if film.focal_px is not None:
        given["focal_px"] = film.focal_px
    return bodies_from_arrays("mapped results", given)


def without_betas(bodies: ImportedBodies) -> ImportedBodies:
    """The same poses and places for a body of another shape space: mean shape, pelvis where it was."""
    rest = {"smpl": SMPL_PELVIS_M, "smplx": SMPLX_PELVIS_M}.get(bodies.shape_space)
    if bodies.rest_pelvis_m is None and rest is not None:
        bodies = replace(bodies, rest_pelvis_m=np.broadcast_to(rest, (len(bodies), 3)))
    return replace(bodies, betas=0 * bodies.betas, shape_space="none")


READERS: dict[str, Callable[[Any, Film], ImportedBodies]] = {
    "4d-humans": from_4d_humans, "amass": from_amass, "frames": from_frames, "gvhmr": from_gvhmr, "romp": from_romp,
    "smpler-x": from_smplerx, "tram": from_tram, "wham": from_wham,
}  # fmt: skip
