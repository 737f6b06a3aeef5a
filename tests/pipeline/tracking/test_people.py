"""Following people by a script whose truth is known: who is seen when, in which order, with how many frames held."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.config import TrackingSettings
from pipeline.records import Frame
from pipeline.tracking.people import (
    MAX_RECENT_BYTES,
    Observations,
    follow_people,
    frames_between_detections,
)
from tests.support.toy_people import Actor, ScriptedModels

SETTINGS = TrackingSettings(detect_every=10, min_track_frames=15)


def walker(number: int, start: float, speed: float, row: float = 120.0, **when) -> Actor:
    return Actor(number=number, hips_px=lambda frame: (start + speed * frame, row), **when)


def follow(models: ScriptedModels, count: int, settings: TrackingSettings = SETTINGS) -> list[Observations]:
    return follow_people(models.frames(count), models, settings)


def numbers_in(seen: Observations) -> set[int]:
    """Which actors a track shows."""
    return {int(number) for number in seen.world_m[:, 0, 2]}


def frames_of(seen: Observations) -> list[int]:
    return [int(index) - 100 for index in seen.frame_index]


def test_two_people_walking_past_each_other_keep_their_identity():
    # rows differ by a quarter of a region: near enough for either to be taken for the other
    models = ScriptedModels([walker(1, 150, 4, row=100), walker(2, 450, -4, row=140)])
    tracks = follow(models, 60)
    assert [numbers_in(track) for track in tracks] == [{1}, {2}]
    for track, actor in zip(tracks, models.actors, strict=True):
        assert frames_of(track) == list(range(60))
        np.testing.assert_allclose(track.xy_px, [actor.points(frame) for frame in range(60)])
        np.testing.assert_allclose(track.pts_s, np.arange(60) / 30)
        assert track.image_hw == models.image_hw


def test_who_enters_between_detections_is_followed_backwards():
    # from 11 to 20 they walk a third of a region: only frame by frame can they be followed
    models = ScriptedModels([walker(1, 100, 1), walker(2, 250, 6, visible=lambda frame: frame >= 11)])
    first, second = follow(models, 50)
    assert frames_of(first) == list(range(50))
    assert frames_of(second) == list(range(11, 50))
    assert numbers_in(second) == {2}
    assert models.detections == [0, 10, 20, 30, 40]


def test_backwards_reaches_the_previous_detection_and_no_further():
    models = ScriptedModels([walker(1, 100, 1, detectable=lambda frame: frame >= 25)])
    (track,) = follow(models, 60)
    assert frames_of(track) == list(range(20, 60))


def test_who_leaves_the_image_ends():
    # landmarks right of the right border: a track ends when fewer than 60 % are inside
    models = ScriptedModels([walker(1, 500, 5)])
    (track,) = follow(models, 60)
    inside = [(models.actors[0].points(frame)[:, 0] < 640).mean() >= 0.6 for frame in range(60)]
    assert frames_of(track) == list(range(sum(inside)))
    assert 20 < len(track) < 40


def test_who_is_lost_comes_back_as_a_new_track_without_shared_frames():
    models = ScriptedModels([walker(1, 200, 1, visible=lambda frame: not 30 <= frame < 34)])
    before, after = follow(models, 80)
    assert frames_of(before) == list(range(30))
    # found at the detection of frame 40, followed backwards to where they came back
    assert frames_of(after) == list(range(34, 80))


def test_backwards_stops_where_the_person_was_already_followed():
    """A jump ends a track at frame 25; the new one found at frame 30 must not claim frames the old one has."""
    jump = Actor(number=1, hips_px=lambda frame: (200 if frame < 25 else 290, 120))
    before, after = follow(ScriptedModels([jump], reach=2.0), 60)
    assert frames_of(before) == list(range(25))
    assert frames_of(after) == list(range(25, 60))


def test_backwards_stops_where_the_region_shows_somebody_else():
    """The second steps out from behind the first at frame 25; until 29 they are within 45 px, .3 of a region."""
    first = walker(1, 200, 1)
    second = walker(2, 200 + 1 - 25 * 10, 11, visible=lambda frame: frame >= 25)
    tracks = follow(ScriptedModels([first, second]), 60)
    assert [numbers_in(track) for track in tracks] == [{1}, {2}]
    assert frames_of(tracks[0]) == list(range(60))
    assert frames_of(tracks[1]) == list(range(30, 60))


def test_two_tracks_of_one_person_are_merged():
    """The second person vanishes behind the first; their track slides onto the first person and has to go."""
    hidden = walker(2, 430, -5, visible=lambda frame: not 20 <= frame < 50)
    models = ScriptedModels([walker(1, 250, 2), hidden], reach=0.6)
    tracks = follow(models, 80, TrackingSettings(min_track_frames=10, merge_distance=0.12))
    assert frames_of(tracks[0]) == list(range(80))
    assert [numbers_in(track) for track in tracks] == [{1}, {2}, {2}]
    assert frames_of(tracks[1])[0] == 0
    assert frames_of(tracks[1])[-1] < 20
    assert frames_of(tracks[2]) == list(range(50, 80))


def test_doubles_of_the_detector_are_one_person():
    for apart in (0.1, 0.32):
        models = ScriptedModels([walker(1, 150, 2), walker(2, 400, 2)], doubles=apart)
        assert [numbers_in(track) for track in follow(models, 40)] == [{1}, {2}]
        assert len(follow(models, 1)) == 2  # no later frame merges them


def test_short_tracks_are_dropped_but_short_clips_are_not():
    brief = walker(2, 400, 0, visible=lambda frame: 20 <= frame < 34)
    models = ScriptedModels([walker(1, 100, 0), brief])
    assert [numbers_in(track) for track in follow(models, 60)] == [{1}]
    long_enough = walker(2, 400, 0, visible=lambda frame: 20 <= frame < 35)
    assert len(follow(ScriptedModels([walker(1, 100, 0), long_enough]), 60)) == 2
    (photo,) = follow(ScriptedModels([walker(1, 100, 0)]), 1)
    assert len(photo) == 1


def test_nobody_and_nothing():
    assert follow(ScriptedModels([]), 30) == []
    assert follow(ScriptedModels([walker(1, 100, 0)]), 0) == []


@pytest.mark.parametrize("detect_every", [1, 4, 10])
def test_frames_held_are_bounded_whatever_the_length(detect_every):
    settings = TrackingSettings(detect_every=detect_every)
    for count in (60, 240):
        actors = [walker(1, 100, 0.2), walker(2, 500, 0, visible=lambda frame: frame > 33)]
        models = ScriptedModels(actors)
        tracks = follow(models, count, settings)
        assert len(tracks) == 2
        assert models.most_live <= detect_every + 1  # the ring, and the frame at hand
        assert models.live == 0  # observations keep no pixels


def test_where_frames_are_large_fewer_are_held_and_the_detector_looks_oftener():
    models = ScriptedModels(
        [walker(1, 100, 0.2), walker(2, 2500, 0, visible=lambda frame: frame >= 3)], image_hw=(2160, 3840)
    )
    first, second = follow(models, 9, TrackingSettings(min_track_frames=5))
    assert models.detections == [0, 2, 4, 6, 8]
    assert models.most_live == 3  # two, and the frame at hand
    assert (frames_of(first)[0], frames_of(second)[0]) == (0, 3)


@pytest.mark.parametrize(
    ("image_hw", "frames"), [((1080, 1920), 10), ((1920, 1080), 10), ((2160, 3840), 2), ((8000, 8000), 1)]
)
def test_as_many_frames_between_detections_as_can_be_held(image_hw, frames):
    assert frames_between_detections(image_hw, 10) == frames
    assert frames == 1 or frames * 3 * image_hw[0] * image_hw[1] <= MAX_RECENT_BYTES
    assert frames_between_detections(image_hw, 1) == 1


def test_the_order_is_that_of_appearance_then_from_left_to_right():
    late = walker(3, 40, 0, visible=lambda frame: frame >= 12)
    actors = [walker(1, 500, 0), walker(2, 300, 0), late, walker(4, 180, 0)]
    for order in (actors, actors[::-1]):
        tracks = follow(ScriptedModels(order), 50)
        assert [numbers_in(track) for track in tracks] == [{4}, {2}, {1}, {3}]


def test_same_frames_same_bytes():
    def run() -> list[bytes]:
        actors = [walker(1, 150, 4, row=100), walker(2, 450, -4, row=140)]
        return [
            track.xy_px.tobytes() + track.frame_index.tobytes()
            for track in follow(ScriptedModels(actors), 50)
        ]

    assert run() == run()


def test_real_networks_follow_a_sliding_picture(pose_models, demo_frame):
    """The demo frame slides by 4 px a frame: two tracks, and landmarks that slide along."""

    def slide():
        for index in range(12):
            image = np.pad(demo_frame, ((0, 0), (4 * index, 0), (0, 0)))[:, : demo_frame.shape[1]]
            yield Frame(index=100 + index, pts_s=index / 30, image=image)

    tracks = follow_people(slide(), pose_models, TrackingSettings(min_track_frames=10))
    assert len(tracks) == 2
    for track in tracks:
        assert frames_of(track) == list(range(12))
        travelled = track.xy_px[:, :, 0].mean(axis=1)
        np.testing.assert_allclose(np.diff(travelled), 4, atol=1.5)
        assert np.abs(np.ptp(track.size_px) / track.size_px.mean()) < 0.03


@pytest.mark.parametrize(("fps", "every"), [(10, 1), (30, 2), (60, 4)])
def test_the_heavier_model_looks_at_even_times(fps, every):
    """Forwards and backwards from where somebody was found, whatever the frame rate; never where it is off."""
    settings = TrackingSettings(heavy_every_s=1 / 15)
    models = ScriptedModels([walker(1, 150, 1), walker(2, 300, 1, visible=lambda frame: frame >= 13)])
    for track in follow_people(models.frames(60, fps), models, settings):
        assert track.is_heavier is not None
        found = 0 if numbers_in(track) == {1} else 20
        expected = [(frame - found) % every == 0 for frame in frames_of(track)]
        np.testing.assert_array_equal(track.is_heavier, expected)
    for track in follow(ScriptedModels(models.actors), 60, replace(SETTINGS, heavy_every_s=0)):
        assert not np.any(track.is_heavier)
