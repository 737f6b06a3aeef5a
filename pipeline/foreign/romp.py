"""ROMP and BEV: video_results.npz of a film, or one .npz a frame beside its picture."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from pipeline.foreign.film import Film, Results
from pipeline.foreign.linking import boxes_of_places, linked_people
from pipeline.foreign.rotations import rotvecs_from
from pipeline.foreign.rows import (
    frame_numbers,
    joined,
    natural,
    numbers,
    part,
    ten_betas,
    whole,
    with_virtual_lens,
)

FOCAL_PX, IMAGE_PX = 443.4, 512.0
"""Its lens: 60 degrees over the longer side."""
FILES = ("*.npz",)
UNNEEDED = frozenset(("verts", "joints", "pj2d", "pj2d_org", "center_preds", "center_confs", "cam"))


def from_romp(contents: Any, film: Film) -> Results:
    """{frame: {smpl_thetas, smpl_betas, cam_trans, track_ids}}; frames without people may be missing.

    A frame's number is that of its picture's name, counted from 0, where the names are numbers. Without `track_ids`
    rows are no identities: people are linked by the overlap of boxes at their places (see `linking`).
    """
    frames = _frames(contents, film)
    if not any(isinstance(found, dict) for found in frames.values()):
        raise KeyError(f"no frame is among {', '.join(map(repr, list(frames)[:5])) or 'no entries'}")
    focal = FOCAL_PX / IMAGE_PX * max(film.size())
    parts, is_tracked = [], True
    for name, number in zip(frames, frame_numbers(list(frames))):
        found = frames[name]
        if not isinstance(found, dict) or not found:
            continue
        pose = rotvecs_from(part(found, "smpl_thetas"), 24)
        count = len(pose)
        tracks = whole(found["track_ids"]) if found.get("track_ids") is not None else np.array([], int)
        is_tracked &= len(tracks) == count
        parts.append(
            {
                "person": tracks if len(tracks) == count else np.arange(count),
                "frame_index": np.full(count, number),
                "pose": pose,
                "betas": ten_betas(part(found, "smpl_betas"), count),
                "translation_m": numbers(part(found, "cam_trans"), 3),
            }
        )
    if parts and not is_tracked:
        place = np.concatenate([row["translation_m"] for row in parts])
        frame = np.concatenate([row["frame_index"] for row in parts])
        people = linked_people(frame, boxes_of_places(place, focal))
        ends = np.cumsum([len(row["person"]) for row in parts])[:-1]
        parts = [row | {"person": who} for row, who in zip(parts, np.split(people, ends))]
    return Results(bodies=with_virtual_lens(joined(parts, focal_px=focal), film))


def _frames(contents: Any, film: Film) -> dict[str, Any]:
    """{name: results} of a film's file, a folder of frame files, or the file of one frame."""
    if "results" in contents:
        results = contents["results"]
        return {film.name or "0": results} if "smpl_thetas" in results else dict(results)
    if "smpl_thetas" in contents:
        return {film.name or "0": contents}
    found: dict[str, Any] = {}
    for name in sorted(contents, key=natural):
        if re.search(r"video_results\.npz$", name):
            return dict(part(contents[name], "results"))
        if "results" in contents[name]:
            found[name] = contents[name]["results"]
    return found or contents
