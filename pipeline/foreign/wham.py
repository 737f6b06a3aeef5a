"""WHAM: wham_output.pkl, a joblib file of a dictionary by person."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.foreign.film import Film, Results, diagonal_px
from pipeline.foreign.rotations import rotvecs_from
from pipeline.foreign.rows import joined, numbers, part, ten_betas, whole

UNNEEDED = frozenset(("verts", "poses_root_world", "pose_world", "trans_world"))


def from_wham(contents: Any, film: Film) -> Results:
    """{person: {pose, trans, betas, frame_ids}} in camera axes; the lens is the picture's diagonal unless given."""
    focal = film.lens_px(diagonal_px)
    rows = []
    for person, found in contents.items():
        frame = whole(part(found, "frame_ids"))
        rows.append(
            {
                "person": np.full(len(frame), int(person)),
                "frame_index": frame,
                "pose": rotvecs_from(part(found, "pose"), 24),
                "betas": ten_betas(part(found, "betas"), len(frame)),
                "translation_m": numbers(part(found, "trans"), 3),
            }
        )
    return Results(bodies=joined(rows, focal_px=focal))
