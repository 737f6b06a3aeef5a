"""Tracks a clip and draws what came of it: overlay film, contact sheet, and a .rrd where it is asked for.

Two passes over the pixels, one frame in memory at a time: the first tracks a segment, the second draws it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Settings
from pipeline.inspection.contact_sheet import ContactSheet
from pipeline.inspection.overlay import OverlayPainter, TrackedPerson
from pipeline.inspection.rerun_recording import RerunRecording
from pipeline.method.progress import no_progress
from pipeline.method.resources import Resources
from pipeline.records import ClipRef, ProgressCallback, Segment
from pipeline.tracking.tracker import ObservingTracker
from pipeline.video.crops import encode_jpeg
from pipeline.video.film import FilmWriter
from pipeline.video.shots import frames_of, segments_of
from schemas.errors import SourceError

FILM_PX = 1280
"""Longer side of the overlay film at most."""
SHEET_QUALITY = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was written, and what it shows."""

    film: Path
    sheet: Path
    recording: Path | None
    frames: int
    tracks: tuple[tuple[str, int, int], ...]
    """Track id, frames, frames that passed the gates."""


def inspect_clip(
    clip: ClipRef,
    folder: Path,
    settings: Settings,
    *,
    with_rerun: bool = False,
    tracker: ObservingTracker | None = None,
    on_progress: ProgressCallback = no_progress,
) -> Inspection:
    """Writes `overlay.mp4`, `contact-sheet.jpg` and, `with_rerun`, `recording.rrd` into a folder.

    Raises what reading a clip raises, SourceError where the folder cannot be written, and SettingsError where
    `with_rerun` is asked for without its library.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(
            f"{folder} cannot be made: {error.strerror}.", remedy="Give another --out folder."
        ) from None
    resources = Resources(settings)
    tracker = tracker or resources.observing_tracker
    recording = RerunRecording(folder / "recording.rrd", resources.body) if with_rerun else None
    segments = segments_of(clip, settings.video)
    video = segments[0].video
    scale = min(1.0, FILM_PX / max(video.width_px, video.height_px))
    painter = OverlayPainter(resources.body, resources.rasterizer, scale)
    sheet = ContactSheet(OverlayPainter(resources.body, resources.rasterizer))
    frames, tracks = 0, []
    with FilmWriter(folder / "overlay.mp4") as film:
        for number, segment in enumerate(segments):
            on_progress("track", number, len(segments))
            people = _tracked(segment, tracker, settings)
            tracks += [
                (person.track.track_id, len(person.seen), int(person.track.kept.sum())) for person in people
            ]
            positions = [
                {int(index): at for at, index in enumerate(person.track.frame_index)} for person in people
            ]
            tiles = [sheet.wanted(person) for person in people]
            for frame in frames_of(segment, settings.video):
                shown = [
                    (person, where[frame.index])
                    for person, where in zip(people, positions, strict=True)
                    if frame.index in where
                ]
                heading = f"#{frame.index}  {frame.pts_s:.3f} s  shot {segment.shot_index}"
                film.write(painter.painted(frame.image, shown, heading), frame.pts_s)
                for person, at in shown:
                    if at in tiles[people.index(person)]:
                        sheet.add(frame.image, person, at)
                if recording is not None:
                    recording.add(frame.image, frame.pts_s, shown)
                frames += 1
    (folder / "contact-sheet.jpg").write_bytes(encode_jpeg(sheet.picture(), SHEET_QUALITY))
    if recording is not None:
        recording.close()
    return Inspection(
        film=folder / "overlay.mp4",
        sheet=folder / "contact-sheet.jpg",
        recording=folder / "recording.rrd" if with_rerun else None,
        frames=frames,
        tracks=tuple(tracks),
    )


def _tracked(segment: Segment, tracker: ObservingTracker, settings: Settings) -> list[TrackedPerson]:
    pairs = tracker.track_with_landmarks(frames_of(segment, settings.video), segment.footage)
    return [TrackedPerson(track=track, seen=seen) for track, seen in pairs]
