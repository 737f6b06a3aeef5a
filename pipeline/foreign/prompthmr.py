"""PromptHMR: results.pkl, a joblib file of a camera and of people by number."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.foreign.film import Film, Results
from pipeline.foreign.rotations import rotvecs_from, smpl_pose
from pipeline.foreign.rows import joined, numbers, part, ten_betas, whole

UNNEEDED = frozenset(("masks", "vertices", "verts", "keypoints_2d", "vitpose", "bboxes", "smplx_world"))
JOINTS = 55


def from_prompthmr(contents: Any, film: Film) -> Results:
    """{camera: {img_focal, img_center}, people: {number: {frames, smplx_cam: {rotmat or pose, shape, trans}}}}."""
    camera = part(contents, "camera")
    focal = film.focal_px if film.focal_px is not None else numbers(part(camera, "img_focal"))
    centre = numbers(camera["img_center"], 2)
    frame_count = len(camera["pred_cam_R"]) if "pred_cam_R" in camera else None
    rows = []
    for number, found in part(contents, "people").items():
        frame, body = whole(part(found, "frames")), part(found, "smplx_cam")
        turned = rotvecs_from(part(body, "rotmat" if "rotmat" in body else "pose"), JOINTS)
        rows.append(
            {
                "person": np.full(len(frame), int(found.get("track_id", number))),
                "frame_index": frame,
                "pose": smpl_pose(turned),
                "betas": ten_betas(part(body, "shape"), len(frame)),
                "translation_m": numbers(part(body, "trans"), 3),
                "focal_px": _of_frames(np.atleast_1d(focal), frame),
                "centre_px": _of_frames(centre, frame),
            }
        )
    return Results(bodies=joined(rows, shape_space="smplx"), frame_count=frame_count)


def _of_frames(values: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """One value for all frames, or each frame's own."""
    return np.repeat(values, len(frame), axis=0) if len(values) == 1 else values[frame]
