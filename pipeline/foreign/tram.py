"""TRAM: a folder with camera.npy and, one level below, hps/hps_track_K.npy, each a dictionary with tensors."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from pipeline.foreign.film import Film, Results, diagonal_px
from pipeline.foreign.rotations import rotvecs_from
from pipeline.foreign.rows import joined, natural, numbers, part, ten_betas, whole

FILES = ("camera.npy", "hps/*.npy", "hps_track_*.npy")
_TRACK = re.compile(r"hps_track_([0-9]+)\.npy$")


def from_tram(contents: Any, film: Film) -> Results:
    """hps_track_K.npy {pred_rotmat, pred_shape, pred_trans, frame}, person K; camera.npy {img_focal, img_center}.

    Without camera.npy the lens is the picture's diagonal unless given.
    """
    camera = contents.get("camera.npy", {}) if isinstance(contents, dict) else {}
    same: dict[str, Any] = {}
    frame_count = len(camera["pred_cam_R"]) if "pred_cam_R" in camera else None
    if film.focal_px is None and "img_focal" in camera:
        same["focal_px"] = float(numbers(camera["img_focal"])[0])
    else:
        same["focal_px"] = film.lens_px(diagonal_px)
    if "img_center" in camera:
        same["centre_px"] = numbers(camera["img_center"], 2)[:1]
    if "pred_rotmat" in contents:  # the file of one track alone
        contents = {"hps_track_0.npy": contents}
    rows = []
    for name in sorted(contents, key=natural):
        track = _TRACK.search(name)
        if track is None:
            continue
        found = contents[name]
        frame = whole(part(found, "frame"))
        rows.append(
            {
                "person": np.full(len(frame), int(track.group(1))),
                "frame_index": frame,
                "pose": rotvecs_from(part(found, "pred_rotmat"), 24),
                "betas": ten_betas(part(found, "pred_shape"), len(frame)),
                "translation_m": numbers(part(found, "pred_trans"), 3),
            }
        )
    return Results(bodies=joined(rows, **same), frame_count=frame_count)
