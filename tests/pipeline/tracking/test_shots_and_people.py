"""A clip of five shots, one without people and one with four: nobody is missed, nobody lives through a cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.config import Settings
from pipeline.records import ClipRef, Footage, Frame
from pipeline.tracking.blazepose import PoseModels
from pipeline.tracking.people import follow_people
from pipeline.tracking.tracker import LandmarkTracker
from pipeline.video.decode import decode
from pipeline.video.shots import segments_of
from tests.support.clips import even_times, write_clip
from tests.support.rendered_people import rendered, walking

FRAMES = 20
TINTS = ((1.0, 1.0, 1.0), (0.5, 0.9, 0.4), (1.0, 0.75, 0.45), (0.45, 0.55, 0.9), (0.9, 0.9, 0.5))
"""Told apart by the detector of cuts."""


def people_side_by_side(count: int, width: int, seed: int) -> list[np.ndarray]:
    """FRAMES pictures (540, 720, 3) of `count` people, each in a strip of its own."""
    body = BodyModel.open_body()
    strips = []
    for number in range(count):
        performance = walking(
            turn_deg=-40.0 + 80.0 * number / max(count - 1, 1),
            hw=(540, width // count),
            focal_px=620.0,
            distance_m=4.0,
            seconds=FRAMES / 30,
        )
        strips.append([frame.image for frame in rendered(body, performance, seed=seed + number)])
    return [np.concatenate(parts, axis=1) for parts in zip(*strips, strict=True)]


def test_five_shots(pose_models: PoseModels, tmp_path: Path) -> None:
    empty = [np.full((540, 720, 3), 150, np.uint8)] * FRAMES
    shots = [
        people_side_by_side(1, 720, 0),
        empty,
        people_side_by_side(4, 720, 10),
        people_side_by_side(1, 720, 20),
        people_side_by_side(2, 720, 30),
    ]
    pictures = [
        (picture * np.array(tint)).astype(np.uint8)
        for tint, shot in zip(TINTS, shots, strict=True)
        for picture in shot
    ]
    path = write_clip(tmp_path / "shots.mp4", lambda at: pictures[at], even_times(len(pictures)))
    base = Settings()
    segments = segments_of(ClipRef(clip_id="c", uri=str(path), source_id="c"), base.video)
    assert [round(segment.start_s * 30) for segment in segments] == [0, 20, 40, 60, 80]
    settings = replace(base.tracking, min_track_frames=10)
    people = [
        follow_people(decode(path, start_s=each.start_s, end_s=each.end_s), pose_models, settings)
        for each in segments
    ]
    assert [len(found) for found in people] == [1, 0, 4, 1, 2]
    for number, found in enumerate(people):
        for seen in found:
            assert seen.frame_index[0] == number * FRAMES
            assert seen.frame_index[-1] == (number + 1) * FRAMES - 1
    columns = [float(seen.xy_px[:, 23:25, 0].mean()) for seen in people[2]]
    assert np.allclose(sorted(columns), [90, 270, 450, 630], atol=40)


def test_an_empty_room_leaves_nothing_in_memory(pose_models: PoseModels) -> None:
    """A still camera that nobody passes: 400 more frames, 276 MB of pixels, of which the last ten are held."""
    room = np.random.default_rng(3).integers(60, 190, (480, 480, 3), np.uint8)
    held: list[int] = []

    def frames() -> Iterator[Frame]:
        for number in range(450):
            held.append(resident_bytes())
            yield Frame(index=number, pts_s=number / 30, image=room.copy())

    tracker = LandmarkTracker(BodyModel.open_body(), Settings(), pose_models)
    assert tracker.track(frames(), Footage(unit_id="room")) == []
    assert len(held) == 450
    assert held[-1] - held[50] < 40 * room.nbytes


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
