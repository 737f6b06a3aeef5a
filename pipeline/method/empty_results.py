"""Errors of segments without a track or without a sample: what is missing, and the remedy."""

from __future__ import annotations

from collections import Counter

from pipeline.config import Settings
from pipeline.records import Segment, TrackedSegment, UnitCounts
from schemas.errors import NobodyFoundError, NothingKeptError

SLOW_S = 1.0
"""Film that needs longer than this for `tracking.min_track_frames` is called slow: at 24 fps they take 0.6 s."""


def nobody_found(segment: Segment, frames_read: int, settings: Settings) -> NobodyFoundError:
    """The error of a segment without tracks. It says so where the film is too short or too slow to follow anybody."""
    wanted, length_s = settings.tracking.min_track_frames, segment.end_s - segment.start_s
    fps = frames_read / length_s
    message = (
        f"{segment.clip.uri}: nobody could be tracked in {frames_read} frames "
        f"({segment.start_s:.2f}-{segment.end_s:.2f} s, {fps:.3g} fps)"
    )
    if frames_read < wanted:
        message += f": fewer than tracking.min_track_frames ({wanted}), so that a person must be seen in all of them."
        remedy = (
            f"Give film of {wanted} frames or more, or set tracking.min_track_frames below {frames_read}."
        )
    elif fps * SLOW_S < wanted:
        message += (
            f": a person must be followed through tracking.min_track_frames = {wanted} frames, which is "
            f"{wanted / fps:.1f} s at this rate, and people move far from frame to frame."
        )
        lower = max(2, round(fps / 2))
        remedy = f"Give film of {wanted / SLOW_S:.0f} fps or more, or set tracking.min_track_frames={lower}."
    else:
        message += "."
        remedy = f"Use clips with a person in full view for {wanted / fps:.1f} s ({wanted} frames) or more."
    if settings.video.sample_fps is not None and fps * SLOW_S < wanted:
        remedy += (
            f" video.sample_fps={settings.video.sample_fps:g} leaves frames out: raise it, or set it to null."
        )
    if segment.notes:
        message += f" Known of this shot: {segment.notes}."
    return NobodyFoundError(message, remedy=remedy)


def nothing_kept(tracked: TrackedSegment, counts: UnitCounts) -> NothingKeptError:
    """The error of a segment with tracks but without samples. It names the gates that closed most often."""
    gated = Counter(reason for track in tracked.tracks for reason in track.reason if reason)
    worst = ", ".join(f"{reason} {count}" for reason, count in gated.most_common(2)) or "none"
    known = f" Known of this shot: {tracked.segment.notes}." if tracked.segment.notes else ""
    return NothingKeptError(
        f"{tracked.segment.clip.uri}: {counts.tracks} track(s), {counts.frames_kept} usable frames, "
        f"{counts.pairs_dropped} candidate pairs, none kept (frames gated: {worst}).{known}",
        remedy="See `reason` in the tables `frames` and `pairs`; loosen gates.* or pairs.* if they are too strict.",
    )
