"""SMPLer-X: a folder with one smplx/FRAME_DETECTION.npz and one meta/FRAME_DETECTION.json for each body."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from pipeline.foreign.film import Film, Results
from pipeline.foreign.linking import boxes_of_places, linked_people
from pipeline.foreign.rotations import root_and_body
from pipeline.foreign.rows import joined, natural, numbers, part, ten_betas, with_virtual_lens
from pipeline.geometry.array_types import Floats

FILES = ("smplx/*.npz", "meta/*.json", "*.npz", "*.json")
_BODY = re.compile(r"([0-9]+)_([0-9]+)\.npz$")


def from_smplerx(contents: Any, film: Film) -> Results:
    """.npz {global_orient, body_pose, betas, transl} of SMPL-X, .json {focal, princpt, bbox}.

    Frames are counted from 1. The lens belongs to the body's box (5000/192 px for each of its width) and to no film,
    so it counts as assumed. The number behind the frame's is a detection's in its frame: people are linked by the
    overlap of their boxes (see `linking`).
    """
    metas = {
        re.split(r"[/\\]", name)[-1]: found for name, found in contents.items() if name.endswith(".json")
    }
    parts, boxes = [], []
    for name in sorted(contents, key=natural):
        body = _BODY.search(name)
        if body is None:
            continue
        found = contents[name]
        stem = re.split(r"[/\\]", name)[-1].removesuffix(".npz")
        meta = metas.get(f"{stem}.json", found)
        if "focal" not in meta:
            raise KeyError(
                f"{name} has no lens: {stem}.json is missing; give the folder that holds smplx/ and meta/"
            )
        place, focal = numbers(part(found, "transl"), 3)[:1], numbers(meta["focal"])[:1]
        boxes.append(_box(meta, place, focal))
        parts.append(
            {
                "person": [0],
                "frame_index": [int(body.group(1)) - 1],
                "pose": root_and_body(_one(found, "global_orient"), _one(found, "body_pose"), 21),
                "betas": ten_betas(part(found, "betas"), 1),
                "translation_m": place,
                "focal_px": focal,
                "centre_px": numbers(part(meta, "princpt"), 2)[:1],
            }
        )
    if parts:
        people = linked_people(np.concatenate([row["frame_index"] for row in parts]), np.stack(boxes))
        parts = [row | {"person": [person]} for row, person in zip(parts, people)]
    return Results(bodies=with_virtual_lens(joined(parts, shape_space="smplx"), film))


def _one(found: Any, key: str) -> np.ndarray:
    """One body's rotations with an axis of rows: its files have (joints, 3)."""
    array = np.asarray(part(found, key))
    return array[None] if array.ndim == 2 and array.shape[-1] == 3 else array.reshape(1, -1)


def _box(meta: Any, place: Floats, focal: Floats) -> Floats:
    """(4,) left, top, right, bottom of a box [x, y, w, h]."""
    if "bbox" not in meta:
        return np.asarray(boxes_of_places(place, focal)[0])
    left, top, width, height = numbers(meta["bbox"])[:4]
    return np.array([left, top, left + width, top + height])
