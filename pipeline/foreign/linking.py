"""Who is who where a program numbers detections anew in every frame: people linked by the overlap of their boxes."""

from __future__ import annotations

import numpy as np

from pipeline.geometry.array_types import Floats

MIN_OVERLAP = 0.3
"""Intersection over union below which two boxes are two people: a stride of 0.3 m between frames at 0.6 m of width."""
MAX_GAP_FRAMES = 30
"""A person who was away for longer is a new one."""
PERSON_SIZE_M = (0.6, 1.7)
"""Width and height of the box that stands for a body known by its place alone."""


def linked_people(frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(N,) numbers of people, from 0 in order of appearance, of (N,) frames and (N, 4) left, top, right, bottom.

    Frame after frame the pairs of a person's last box and a new one are taken by falling overlap (equal ones by the
    person's number, then by the order of rows); a box that overlaps nobody's by `MIN_OVERLAP` is a new person.
    """
    person = np.empty(len(frame), dtype=np.int64)
    last_box: list[np.ndarray] = []
    last_frame: list[int] = []
    for now in np.unique(frame):
        rows = np.flatnonzero(frame == now)
        known = [who for who, seen in enumerate(last_frame) if now - seen <= MAX_GAP_FRAMES]
        taken: dict[int, int] = {}
        if known:
            overlap = overlaps(np.stack([last_box[who] for who in known]), boxes[rows])
            for at in np.argsort(-overlap, axis=None, kind="stable"):
                who, row = known[at // len(rows)], int(at % len(rows))
                if overlap.flat[at] < MIN_OVERLAP:
                    break
                if row not in taken and who not in taken.values():
                    taken[row] = who
        for row, index in enumerate(rows):
            if row not in taken:
                taken[row] = len(last_box)
                last_box.append(boxes[index])
                last_frame.append(int(now))
            person[index] = taken[row]
            last_box[taken[row]], last_frame[taken[row]] = boxes[index], int(now)
    return person


def overlaps(first: Floats, second: Floats) -> Floats:
    """(A, B) intersection over union of boxes (A, 4) and (B, 4) left, top, right, bottom; 0 where both are empty."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    area = [np.clip(box[:, 2:] - box[:, :2], 0, None).prod(axis=-1) for box in (first, second)]
    return np.asarray(shared / np.maximum(area[0][:, None] + area[1][None] - shared, 1e-12))


def boxes_of_places(translation_m: np.ndarray, focal_px: np.ndarray | float) -> np.ndarray:
    """(N, 4) boxes of people at (N, 3) places, from the image's centre: pi(t) plus or minus f size / (2 Z)."""
    scale = (np.asarray(focal_px) / np.maximum(translation_m[:, 2], 1e-3))[:, None]
    centre = translation_m[:, :2] * scale
    half = 0.5 * scale * np.array(PERSON_SIZE_M)
    return np.concatenate([centre - half, centre + half], axis=1)
