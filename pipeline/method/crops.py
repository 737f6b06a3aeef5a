"""JPEG crops of a segment's people: the only pixels that outlive decoding."""

from __future__ import annotations

import numpy as np

from pipeline.config import Settings
from pipeline.method.progress import CountedFrames, no_progress
from pipeline.records import ProgressCallback, Track, TrackedSegment
from pipeline.video.crops import crop_image, encode_jpeg
from pipeline.video.shots import frames_of
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

    `path` is where the clip lies on this machine, if not at its own uri.
    """
    wanted: dict[int, list[tuple[Track, int]]] = {}
    for track in tracked.tracks:
        for at in np.flatnonzero(track.kept):
            wanted.setdefault(int(track.frame_index[at]), []).append((track, int(at)))
    crops: dict[int, PersonCrops] = {track.person_index: {} for track in tracked.tracks}
    frames = frames_of(tracked.segment, settings.video, path)
    for frame in CountedFrames(frames, "crop", tracked.frames_read, on_progress):
        for track, position in wanted.get(frame.index, ()):
            crop = crop_image(frame.image, track.crop_px[position], IMAGE_PX)
            crops[track.person_index][frame.index] = encode_jpeg(crop, settings.pairs.jpeg_quality)
    return crops
