"""CLIFF: an .npz of rows, each one person in one frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.body.inert_pickle import dense_array
from pipeline.foreign.film import Film, Results
from pipeline.foreign.linking import linked_people
from pipeline.foreign.rotations import rotvecs_from
from pipeline.foreign.rows import joined, numbers, part, ten_betas, whole

UNNEEDED = frozenset(("verts", "vertices", "joints"))


def from_cliff(contents: Any, film: Film) -> Results:
    """{pose, shape, global_t, focal_l, detection_all}: of the detections column 0 is the frame, the last the person.

    Columns 1 to 4 are the box: where a person comes twice in a frame the numbers are no identities, and people are
    linked by the overlap of their boxes (see `linking`).
    """
    detection = np.asarray(dense_array(part(contents, "detection_all")), dtype=np.float64)
    if detection.ndim != 2 or detection.shape[1] < 6:
        raise ValueError(f"detection_all of shape {detection.shape} where (N, 8) fits")
    frame, person = whole(detection[:, 0]), whole(detection[:, -1])
    if len(np.unique(np.column_stack([frame, person]), axis=0)) < len(frame):
        person = linked_people(frame, detection[:, 1:5])
    count = len(frame)
    focal = film.focal_px if film.focal_px is not None else numbers(part(contents, "focal_l"))
    rows = {
        "person": person,
        "frame_index": frame,
        "pose": rotvecs_from(part(contents, "pose"), 24),
        "betas": ten_betas(part(contents, "shape"), count),
        "translation_m": numbers(part(contents, "global_t"), 3),
        "focal_px": np.broadcast_to(focal, (count,)),
    }
    return Results(bodies=joined([rows]))
