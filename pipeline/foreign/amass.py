"""AMASS and other motion capture: an .npz of one person's poses in a world."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.body.inert_pickle import dense_array
from pipeline.foreign.film import Film, Results
from pipeline.foreign.rotations import LAYOUTS, joints_of, rotvecs_from, smpl_pose
from pipeline.foreign.rows import joined, numbers, part, ten_betas
from schemas.errors import SourceError

RATES = ("mocap_framerate", "mocap_frame_rate")
"""Names of the frame rate in files of SMPL-H and of SMPL-X."""


def from_amass(contents: Any, film: Film) -> Results:
    """{poses, trans, betas, mocap_framerate or mocap_frame_rate, gender}: poses of SMPL-H, SMPL-X or SMPL.

    `cam_from_world` (4, 4) or (T, 4, 4) and `focal_px` are keys of our own; without the first nobody knows where the
    camera stood.
    """
    if "cam_from_world" not in contents:
        raise SourceError(
            "AMASS-style bodies are in world coordinates, and the camera's pose is not stated.",
            remedy="Add the key cam_from_world, (4, 4) or (T, 4, 4), to the .npz, and focal_px or --focal-px.",
        )
    rate = next((contents[name] for name in RATES if name in contents), None)
    if rate is None:
        raise KeyError(f"there is neither {RATES[0]!r} nor {RATES[1]!r}")
    poses = part(contents, "poses")
    joints = joints_of(poses, "axis-angle", tuple(LAYOUTS.values()))
    pose = smpl_pose(rotvecs_from(poses, joints, "axis-angle"))
    count = len(pose)
    is_smplx = joints == LAYOUTS["smplx"] or text(contents.get("surface_model_type")) == "smplx"
    gender = text(contents.get("gender"))
    if film.focal_px is None and "focal_px" not in contents:
        raise SourceError(
            "the focal length of the camera is not stated.", remedy="Add --focal-px, or focal_px to the .npz."
        )
    rows = {
        "person": np.zeros(count, int),
        "pts_s": np.arange(count) / float(dense_array(rate)),
        "pose": pose,
        "betas": ten_betas(part(contents, "betas"), count),
        "translation_m": numbers(part(contents, "trans"), 3),
    }
    bodies = joined(
        [rows],
        focal_px=film.focal_px if film.focal_px is not None else numbers(contents["focal_px"]),
        cam_from_world=numbers(contents["cam_from_world"], 4, 4),
        shape_space="smplx" if is_smplx else "smpl",
    )
    notes = (f"shaped as a {gender} body: give that body's file as body.file",) if gender else ()
    return Results(bodies=bodies, notes=notes)


def text(value: Any) -> str:
    """A word that numpy may have wrapped; empty where there is none."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(())[()]
    if isinstance(value, bytes):
        value = value.decode("latin1")
    return str(value) if isinstance(value, str) else ""
