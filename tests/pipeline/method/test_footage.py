"""What a tracker is told of a segment's film."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from pipeline.method.segment import track_segment
from pipeline.records import Footage, Frame, Track
from pipeline.video.shots import segments_of
from pipeline.video.source import clips_from_arguments
from tests.support.fast_units import FastResources, ScriptedTracker, fast_settings, write_clips


class ListeningTracker(ScriptedTracker):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[Footage] = []

    def track(self, frames: Iterable[Frame], footage: Footage, *, on_progress: object = None) -> list[Track]:
        """See `Tracker.track`."""
        self.told.append(footage)
        return super().track(frames, footage, on_progress=on_progress)


class ListeningResources(FastResources):
    """With such a tracker."""

    @cached_property
    def tracker(self) -> ListeningTracker:
        """One for all segments."""
        return ListeningTracker()


def test_a_tracker_is_told_the_unit_and_both_focal_lengths(tmp_path: Path) -> None:
    (clip,) = clips_from_arguments([str(write_clips(tmp_path, ["one"]))])
    settings = fast_settings()
    (segment,) = segments_of(clip, settings.video)
    resources = ListeningResources(settings)
    for given_px, stated_px in ((900.0, 800.0), (None, 800.0), (None, None)):
        video = replace(segment.video, focal_px=stated_px)
        track_segment(replace(segment, clip=replace(clip, focal_px=given_px), video=video), resources)
        assert resources.tracker.told[-1] == Footage(
            unit_id=segment.unit_id, focal_px=given_px, stated_focal_px=stated_px
        )
