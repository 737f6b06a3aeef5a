"""GVHMR, and GEM (GENMO) in the same layout: a file of torch with the parameters of one person, frame after frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.body.inert_pickle import dense_array
from pipeline.foreign.film import Film, Results, diagonal_px
from pipeline.foreign.rotations import root_and_body
from pipeline.foreign.rows import joined, numbers, part, ten_betas

IN_CAMERA = ("smpl_params_incam", "body_params_incam")
"""The parameters' name in GVHMR's hmr4d_results.pt, and in GEM's."""


def from_gvhmr(contents: Any, film: Film) -> Results:
    """{smpl_params_incam or body_params_incam: {global_orient, body_pose, betas, transl}, K_fullimg}, SMPL-X's joints.

    Where there is no K_fullimg the lens is the picture's diagonal unless given.
    """
    name = next((name for name in IN_CAMERA if name in contents), IN_CAMERA[0])
    found = part(contents, name)
    place = numbers(part(found, "transl"), 3)
    count = len(place)
    body = part(found, "body_pose")
    rows: dict[str, Any] = {
        "person": np.zeros(count, int),
        "frame_index": np.arange(count),
        "pose": root_and_body(
            part(found, "global_orient"), body, 23 if dense_array(body).shape[-1] == 69 else 21
        ),
        "betas": ten_betas(part(found, "betas"), count),
        "translation_m": place,
    }
    if "K_fullimg" in contents:
        lens = np.broadcast_to(numbers(contents["K_fullimg"], 3, 3), (count, 3, 3))
        rows |= {"focal_px": lens[:, 0, 0], "centre_px": lens[:, :2, 2]}
    else:
        rows["focal_px"] = np.full(count, film.lens_px(diagonal_px))
    return Results(bodies=joined([rows], shape_space="smplx"), frame_count=count)
