"""JPEG crops of a segment's people: the only pixels that outlive decoding."""

from __future__ import annotations

import numpy as np

from pipeline.config import Settings
from pipeline.method.progress import CountedFrames, no_progress
from pipeline.records import ProgressCallback, Track, TrackedSegment
from pipeline.video.crops import crop_part, encode_jpeg, needed_box
from pipeline.video.picture_parts import Box
from pipeline.video.shots import parts_of
from schemas.conventions import IMAGE_PX

PersonCrops = dict[int, bytes]
"""The JPEG crops of one person by frame index."""


def crops_by_person(
    tracked: TrackedSegment,
    settings: Settings,
    on_progress: ProgressCallback = no_progress,
    *,
    path: str | None = None,
) -> dict[int, PersonCrops]:
    """Crops by person index, of kept frames: one pass over the film; memory is bounded by the JPEGs' bytes.

    Crops follow the boxes of half a second before and after, and frames are kept by fits of whole tracks: when they are
    known the pictures are gone. Pixels that wait for it would take a megabyte a person and frame, and kept without loss
    more time than decoding again; of what is decoded again only the crops become RGB.

    `path` is where the clip lies on this machine, if not at its own uri.
    """
    wanted: dict[int, list[tuple[Track, int]]] = {}
    for track in tracked.tracks:
        for place in np.flatnonzero(track.kept):
            at = int(place)
            wanted.setdefault(int(track.frame_index[at]), []).append((track, at))
    crops: dict[int, PersonCrops] = {track.person_index: {} for track in tracked.tracks}

    def boxes(index: int, hw: tuple[int, int]) -> list[Box]:
        return [needed_box(hw, track.crop_px[at], IMAGE_PX) for track, at in wanted.get(index, ())]

    frames = parts_of(tracked.segment, settings.video, boxes, path)
    for index, parts in CountedFrames(frames, "crop", tracked.frames_read, on_progress):
        for (track, at), part in zip(wanted.get(index, ()), parts, strict=True):
            crop = crop_part(part, track.crop_px[at], IMAGE_PX)
            crops[track.person_index][index] = encode_jpeg(crop, settings.pairs.jpeg_quality)
    return crops
