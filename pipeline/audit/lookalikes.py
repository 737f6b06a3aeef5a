"""People in different clips whose pictures look alike: the same clip under two names, in another encoding or size."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.audit.sample_cells import SampleCells
from pipeline.audit.scalars import AuditTables, codes, dictionary
from pipeline.video.crops import decode_image

MAX_TRACKS = 400
"""Tracks whose pictures are compared, of every clip one before any clip's second; more would take longer than the rest
of the audit, and the page says how many were."""
_SIDE = 16
_PICTURES = 3
_MAX_DISTANCE = 0.1
"""Share of bits that may differ. Measured on the demo clip: the same frames of a copy (two thirds the size, crf 30,
tracked anew) differ in 0.01 to 0.13, of two people 83 % and 100 % in at most 0.1; pictures of different people in at
least 0.28 (median 0.51, 23,361 pairs); frames of one track half a second and more apart in 0.47, the closest 1 % of
them in 0.14. A copy that is moved by 8 of 512 pixels or enlarged by 5 % is missed more often than not."""


@dataclass(frozen=True, kw_only=True)
class Lookalikes:
    """What a comparison of pictures found."""

    clips: list[tuple[list[str], list[str]]]
    """Clip ids and source ids of two clips of which a person in one looks like a person in the other."""
    compared: int
    tracks: int
    """People that were compared, of how many."""


def lookalikes(tables: AuditTables) -> Lookalikes:
    """Compares pictures of people in different clips.

    A picture's hash says, for a grid of 16 x 16 cells, which cell is brighter than its right neighbour.
    """
    samples = tables.samples
    names = dictionary(samples, "track_id").to_pylist()
    rows = codes(samples, "track_id")
    order = np.argsort(rows, kind="stable")
    ends = np.cumsum(np.bincount(rows, minlength=len(names))) if names else np.empty(0, int)
    clip_of = _clips_by_track(tables)
    known = [at for at in range(len(names)) if names[at] in clip_of]
    tracks = _one_of_every_clip_first([clip_of[names[at]][0] for at in known], known)[:MAX_TRACKS]
    if len({clip_of[names[at]][0] for at in tracks}) < 2:
        return Lookalikes(clips=[], compared=len(tracks), tracks=len(known))
    chosen = []
    for at in tracks:
        part = order[(ends[at - 1] if at else 0) : ends[at]]
        places = np.linspace(0, len(part) - 1, _PICTURES + 2)[1:-1].round().astype(int)
        chosen += [(int(part[place]), at) for place in np.unique(places)]
    cells = SampleCells(tables.dataset)
    hashes = np.array([_hash_of(cells, row) for row, _ in chosen])
    owners = np.array([at for _, at in chosen])
    alike: dict[tuple[str, str], set[str]] = {}
    for at in range(len(hashes)):
        near = (hashes[at + 1 :] != hashes[at]).mean(axis=1) <= _MAX_DISTANCE
        for other in owners[at + 1 :][near]:
            ours, theirs = clip_of[names[owners[at]]], clip_of[names[other]]
            if ours[0] != theirs[0]:
                first, second = sorted((ours[0], theirs[0]))
                alike.setdefault((first, second), set()).update((ours[1], theirs[1]))
    found = [(list(clips), sorted(sources)) for clips, sources in sorted(alike.items())]
    return Lookalikes(clips=found, compared=len(tracks), tracks=len(known))


def _hash_of(cells: SampleCells, row: int) -> np.ndarray:
    image = cells.row(row, columns=("image",))["image"]
    with cells.drawn(row):
        return picture_hash(decode_image(image))


def picture_hash(picture: np.ndarray) -> np.ndarray:
    """(256,) bool of an RGB picture."""
    grey = cv2.resize(
        cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA
    )
    return np.asarray(grey[:, 1:] > grey[:, :-1]).ravel()


def _one_of_every_clip_first(clips: list[str], tracks: list[int]) -> list[int]:
    """Tracks in the order of their number within their clip, then of the dataset."""
    seen: Counter[str] = Counter()
    ranked = []
    for place, (clip, track) in enumerate(zip(clips, tracks)):
        ranked.append((seen[clip], place, track))
        seen[clip] += 1
    return [track for _, _, track in sorted(ranked)]


def _clips_by_track(tables: AuditTables) -> dict[str, tuple[str, str]]:
    """Clip and source of every track that has pairs."""
    pairs = tables.pairs
    _, first = np.unique(codes(pairs, "track_id"), return_index=True)
    rows = pairs.select(["track_id", "clip_id", "source_id"]).take(first).to_pylist()
    return {row["track_id"]: (row["clip_id"], row["source_id"]) for row in rows}
