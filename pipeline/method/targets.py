"""The targets of a tracked segment, track after track and in order of time, each with its rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.host.memory import with_memory_returned
from pipeline.method.crops import PersonCrops
from pipeline.method.map_pictures import MapPictures
from pipeline.method.progress import no_progress
from pipeline.method.rendered_frames import RenderedFrames
from pipeline.method.resources import Resources
from pipeline.method.samples import TargetRows, target_rows
from pipeline.records import ProgressCallback, Track, TrackedSegment


def rows_by_target(
    tracked: TrackedSegment,
    crops: dict[int, PersonCrops],
    resources: Resources,
    on_progress: ProgressCallback = no_progress,
    pictures: MapPictures | None = None,
) -> Iterator[TargetRows]:
    """The rows of every target, every `pairs.target_stride`-th kept frame of a track, in order of time.

    Takes the crops out of `crops` as it comes to their track: they are dropped with it. `pictures` are those of crops
    that were decoded already.
    """
    settings = resources.settings.pairs
    targets = {
        track.track_id: np.flatnonzero(track.kept)[:: settings.target_stride] for track in tracked.tracks
    }
    done, total = 0, sum(map(len, targets.values()))
    for track in tracked.tracks:
        frames = RenderedFrames(track, crops.pop(track.person_index), resources, pictures)
        window_s = max(settings.candidate_gaps_s) + _period_s(track)
        for target in with_memory_returned(map(int, targets[track.track_id])):
            yield target_rows(tracked.segment, frames, target, resources.rings, settings)
            frames.forget_before(float(track.pts_s[target]) - window_s)
            done += 1
            on_progress("render", done, total)


def _period_s(track: Track) -> float:
    """Seconds between two frames of a track; a candidate lies up to half of it beyond its gap."""
    return float(np.median(np.diff(track.pts_s))) if len(track.pts_s) > 1 else 0.0
