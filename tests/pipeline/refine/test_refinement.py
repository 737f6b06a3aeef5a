"""A track's refinement: jitter is taken out, nothing drifts, and what pictures cannot tell stays as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.body.model import BodyModel
from pipeline.config import RefineSettings
from pipeline.records import PERSON_PX, Quality, Track, packed_person
from pipeline.refine.alignment import Report
from pipeline.refine.dressed_shape import DressedShape
from pipeline.refine.frame_coupling import acceleration_precision, drift_mean, relaxation, smooth_step
from pipeline.refine.pictures import PART_SHARE, Part, TrackPictures, level_picture
from pipeline.refine.refinement import pair_weights, refined_track, refined_vectors, window_weights
from pipeline.refine.surface_points import spread_points
from pipeline.refine.track_bodies import TrackBodies
from pipeline.refine.track_frames import PersonAt, TrackFrames
from pipeline.rendering.compiled import CompiledRasterizer
from schemas.conventions import IMAGE_PX, VECTOR_CAMERA
from tests.support.textured_track import SIDE_PX, TexturedTrack

QUICK = RefineSettings(mode="track", levels_px=(96, 192), iterations=5, points=2000)
GAPS_S = (1 / 15, 0.1, 2 / 15)


def refined(
    scene: TexturedTrack,
    vectors: np.ndarray,
    settings: RefineSettings = QUICK,
    person: PersonAt | None = None,
    report: Report | None = None,
) -> np.ndarray:
    times_s = np.arange(scene.frames) / 30
    weights = (
        window_weights(times_s, settings.window_s)
        if settings.mode == "track"
        else pair_weights(times_s, GAPS_S)
    )
    frames = TrackFrames(
        pictures=scene.pictures.__getitem__,
        cameras=[scene.camera] * scene.frames,
        pts_s=times_s,
        neighbours=weights,
        person=person,
    )
    return refined_vectors(frames, vectors, BodyModel.open_body(), CompiledRasterizer(), settings, report)


@pytest.fixture(scope="module")
def scene() -> TexturedTrack:
    return TexturedTrack()


@pytest.fixture(scope="module")
def jittered(scene: TexturedTrack) -> np.ndarray:
    return scene.jittered(1.0, seed=3)


@pytest.mark.parametrize("mode", ["track", "pairs"])
def test_jitter_is_taken_out_and_nothing_drifts(
    scene: TexturedTrack, jittered: np.ndarray, mode: str
) -> None:
    found = refined(scene, jittered, replace(QUICK, mode=mode))
    before, after = scene.surface_error_px(jittered), scene.surface_error_px(found)
    assert before > 1.0
    assert after < 0.35 * before
    truth = scene.joints(scene.vectors)
    off, was_off = scene.joints(found) - truth, scene.joints(jittered) - truth
    assert np.linalg.norm(off, axis=2).mean() < np.linalg.norm(was_off, axis=2).mean()
    np.testing.assert_allclose(off.mean(axis=0), was_off.mean(axis=0), atol=0.003)
    moved = scene.translations(found) - scene.translations(jittered)
    means = drift_mean(
        np.arange(scene.frames) / 30, np.ones((scene.frames, scene.frames)), QUICK.drift_window_s
    )
    assert np.abs(means @ moved).max() < 0.2 * np.abs(moved).max()


def test_exact_bodies_stay_where_they_are(scene: TexturedTrack) -> None:
    found = refined(scene, scene.vectors)
    assert scene.surface_error_px(found) < 0.15


def test_the_same_input_gives_the_same_bytes(scene: TexturedTrack, jittered: np.ndarray) -> None:
    quick = replace(QUICK, levels_px=(96,), iterations=2)
    assert refined(scene, jittered, quick).tobytes() == refined(scene, jittered, quick).tobytes()


def test_without_texture_bodies_pass_unchanged(jittered: np.ndarray) -> None:
    found = refined(TexturedTrack(is_textured=False), jittered)
    np.testing.assert_allclose(found, jittered, atol=1e-9)


def test_frames_without_neighbours_pass_unchanged(scene: TexturedTrack, jittered: np.ndarray) -> None:
    """Frames farther apart than the window have nothing to agree with."""
    settings = replace(QUICK, window_s=0.01)
    np.testing.assert_allclose(refined(scene, jittered, settings), jittered, atol=1e-9)


def test_what_stands_behind_does_not_hold_a_body_back() -> None:
    """Bodies too large by a tenth show the wall around the person; where the person is, is told."""
    scene = TexturedTrack(turn_deg=6.0, has_backdrop=True)
    jittered = scene.jittered(2.0, seed=4)
    jittered[:, VECTOR_CAMERA.start] *= 1.1
    error = {
        is_told: scene.surface_error_px(
            refined(scene, jittered, person=scene.persons().__getitem__ if is_told else None)
        )
        for is_told in (False, True)
    }
    assert error[True] < 0.8 * error[False], error


def track(vectors: np.ndarray, scene: TexturedTrack, reason: tuple[str, ...]) -> Track:
    ones = np.ones(len(vectors))
    return Track(
        track_id="unit/p00",
        person_index=0,
        frame_index=np.arange(len(vectors)),
        pts_s=np.arange(len(vectors)) / 30,
        box_px=np.zeros((len(vectors), 4)),
        crop_px=np.zeros((len(vectors), 3)),
        vector=vectors,
        K=np.tile(scene.camera.resized((IMAGE_PX, IMAGE_PX)).K, (len(vectors), 1, 1)),
        quality=Quality(**dict.fromkeys(Quality.__dataclass_fields__, ones)),
        reason=reason,
    )


def pictures_of(scene: TexturedTrack):
    import cv2

    return lambda at: cv2.resize(scene.pictures[at], (IMAGE_PX, IMAGE_PX), interpolation=cv2.INTER_LINEAR)


def test_a_track_keeps_what_the_tracker_said_and_its_gated_frames(
    scene: TexturedTrack, jittered: np.ndarray
) -> None:
    reason = ("", "", "low-score", "", "", "")
    asked = []

    def pictures(at: int) -> np.ndarray:
        asked.append(at)
        return pictures_of(scene)(at)

    quick = replace(QUICK, levels_px=(96,), iterations=2)
    found = refined_track(
        track(jittered, scene, reason), pictures, BodyModel.open_body(), CompiledRasterizer(), quick, GAPS_S
    )
    assert found.tracked_vector is not None
    np.testing.assert_array_equal(found.tracked_vector, jittered)
    np.testing.assert_array_equal(found.vector[2], jittered[2])
    assert (np.abs(found.vector - jittered).max(axis=1) > 1e-4).tolist() == [True, True, False] + [True] * 3
    assert 2 not in asked
    assert found.surface is not None
    assert (
        found.surface.offset_m.shape == found.surface.sigma_m.shape == (len(BodyModel.open_body().template),)
    )
    assert 0 < found.surface.sigma_m.min() < found.surface.sigma_m.max() < 1.001 * quick.offset_sigma_m


def bare_shape() -> DressedShape:
    """The skin itself."""
    points = spread_points(BodyModel.open_body(), 100, 0.3)
    nothing = np.zeros(points.node_count)
    return DressedShape(points=points, offset_m=nothing, sigma_m=nothing + 0.02)


def test_a_tracks_outlines_are_used_unless_they_are_not_wanted(
    scene: TexturedTrack, jittered: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the kept frames, by their place among them."""
    drawn = np.random.default_rng(0).uniform(size=(6, PERSON_PX, PERSON_PX)) > 0.5
    outlines = tuple(map(packed_person, drawn))
    given = replace(track(jittered, scene, ("low-score",) + ("",) * 5), person=outlines)
    told: list[TrackFrames] = []

    def noting(frames: TrackFrames, *rest: Any) -> np.ndarray:
        told.append(frames)
        rest[-1](bare_shape())
        return given.vector[1:]

    monkeypatch.setattr("pipeline.refine.refinement.refined_vectors", noting)
    for is_wanted in (True, False):
        settings = replace(QUICK, person=is_wanted)
        refined_track(
            given, pictures_of(scene), BodyModel.open_body(), CompiledRasterizer(), settings, GAPS_S
        )
    np.testing.assert_array_equal(told[0].person_at(2), drawn[3])
    np.testing.assert_array_equal(told[1].person_at(2), [[1]])


@pytest.mark.parametrize(
    ("mode", "reason"), [("off", ("",) * 6), ("track", ("",) + ("low-score",) * 5)], ids=["off", "one frame"]
)
def test_a_track_that_cannot_be_refined_is_itself(
    scene: TexturedTrack, jittered: np.ndarray, mode: str, reason: tuple[str, ...]
) -> None:
    given = track(jittered, scene, reason)
    settings = replace(QUICK, mode=mode)
    assert (
        refined_track(
            given, pictures_of(scene), BodyModel.open_body(), CompiledRasterizer(), settings, GAPS_S
        )
        is given
    )


def test_weights_of_windows_and_pairs() -> None:
    times_s = np.arange(5) / 30
    window = window_weights(times_s, 0.1)
    np.testing.assert_allclose(window[0], [0, 0.75, 0.25, 0, 0], atol=1e-12)
    np.testing.assert_array_equal(pair_weights(times_s, (1 / 15, 0.1))[0], [0, 0, 1, 1, 0])


def box_of(scene: TexturedTrack, at: int) -> np.ndarray:
    """(2, 2) corners of the body in its picture."""
    body_px = scene.camera.px_from_cam(scene.vertices(scene.vectors)[at])
    return np.stack([np.nanmin(body_px, axis=0), np.nanmax(body_px, axis=0)])


@pytest.mark.parametrize("side_px", [48, 96, 144, 192])
def test_a_level_is_a_part_of_the_whole_picture_resized(scene: TexturedTrack, side_px: int) -> None:
    """Pixel by pixel but for the outermost, which blurring mixes with what was cut off; and its lens is the part's."""
    place, picture = Part(64, 32, 144, 176), scene.pictures[0]
    part = picture[place.top : place.bottom, place.left : place.right]
    level = level_picture(part, place, scene.camera, side_px)
    whole = level_picture(picture, Part(0, 0, SIDE_PX, SIDE_PX), scene.camera, side_px)
    left, top, right, bottom = (edge * side_px // SIDE_PX for edge in (64, 32, 144, 176))
    expected = whole.picture[top:bottom, left:right]
    assert level.picture.shape == expected.shape
    np.testing.assert_array_equal(level.picture[2:-2, 2:-2], expected[2:-2, 2:-2])
    np.testing.assert_allclose(level.lens, whole.lens - [0, 0, left, top])
    assert np.ptp(level.picture) > 50


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([[40, 50], [90, 110]], Part(24, 32, 112, 128)),
        ([[-30, -40], [500, 500]], Part(0, 0, 192, 192)),
        ([[300, 20], [400, 90]], Part(184, 0, 192, 112)),
        ([[np.nan, np.nan], [np.nan, np.nan]], Part(0, 0, 8, 8)),
    ],
)
def test_parts_end_on_pixels_of_every_level(box: list[list[float]], expected: Part) -> None:
    """Also about bodies that fill the picture, lie beside it, or behind the camera."""
    assert Part.around(np.array(box, float), SIDE_PX, step_px=8) == expected


@pytest.mark.parametrize(("share", "asked"), [(2.0, [1, 1]), (0.9, [2, 2]), (0.5, [2, 3]), (0.0, [4, 4])])
def test_pictures_are_held_up_to_a_number_of_bytes(
    scene: TexturedTrack, share: float, asked: list[int]
) -> None:
    """Parts of all frames where they fit, else levels of the first ones; what is made again is the same."""
    calls = [0] * 3

    def picture(at: int) -> np.ndarray:
        calls[at] += 1
        return scene.pictures[at]

    frames = TrackFrames(
        pictures=picture, cameras=[scene.camera] * 3, pts_s=np.arange(3.0), neighbours=np.zeros((3, 3))
    )
    boxes = [box_of(scene, at) for at in range(3)]
    levels_px = (SIDE_PX // 2, SIDE_PX)
    byte_count = sum(place.byte_count for place in TrackPictures(frames, boxes, levels_px).places)
    pictures = TrackPictures(frames, boxes, levels_px, max_bytes=round(share * byte_count / PART_SHARE))
    for side_px in levels_px:
        level = pictures.level(side_px)
        first = [level[at].picture for at in range(len(level))]
        for at in range(len(level)):
            np.testing.assert_array_equal(level[at].picture, first[at])
    assert [calls[0], calls[2]] == asked


def test_the_smooth_step_solves_the_dense_system() -> None:
    """Against the dense matrix of second differences, with a gap in time that nothing is differenced across."""
    rng = np.random.default_rng(8)
    frames, size = 7, 5
    root = rng.standard_normal((frames, size, size))
    hessian = root @ root.transpose(0, 2, 1) + np.eye(size)
    gradient, so_far = rng.standard_normal((2, frames, size))
    precision, is_inner = rng.uniform(1, 9, size), np.array([0, 1, 1, 0, 0, 1, 0], bool)
    dense = np.zeros((frames * size, frames * size))
    for at in range(frames):
        dense[at * size : (at + 1) * size, at * size : (at + 1) * size] = hessian[at]
    second = np.zeros((frames, frames))
    for at in np.flatnonzero(is_inner):
        second[at, at - 1 : at + 2] = [1, -2, 1]
    coupled = np.kron(second.T @ second, np.diag(precision))
    expected = np.linalg.solve(dense + coupled, gradient.ravel() + coupled @ so_far.ravel())
    found = smooth_step(hessian, gradient, so_far, precision, is_inner)
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-4, atol=1e-5)  # solved in float32


def second_differences(frames: int) -> np.ndarray:
    """(T, T) that takes them at the inner frames."""
    second = np.zeros((frames, frames))
    for at in range(1, frames - 1):
        second[at, at - 1 : at + 2] = [1, -2, 1]
    return second


def test_a_motion_costs_the_same_at_every_frame_rate() -> None:
    """Mean energy per frame of corrections of known acceleration: in closed form at 30 Hz, equal at 10, 15 and 30."""
    sigma = np.array([45.0, 18.0])
    energy = {}
    for rate_hz in (10, 15, 30):
        times_s = np.arange(4 * rate_hz + 1) / rate_hz
        corrections = np.stack([3.0 * times_s**2, -2.0 * times_s**2 + times_s], axis=1)  # 6 rad/s^2, -4 m/s^2
        bend = (second_differences(len(times_s)) @ corrections)[1:-1]
        precision = acceleration_precision(times_s, sigma)
        energy[rate_hz] = float((precision * bend**2).sum(axis=1).mean())
    assert energy == pytest.approx(dict.fromkeys((10, 15, 30), (6 / 45) ** 2 + (4 / 18) ** 2), rel=1e-9)


def test_at_thirty_frames_a_second_the_precision_is_that_of_a_second_difference() -> None:
    """Times as a container gives them, some off by a rounding: not a bit may change with them."""
    times_s = np.round(np.arange(50) / 30, 6)
    sigma = np.array([45.0, 18.0])
    assert acceleration_precision(times_s, sigma).tolist() == [0.05**-2.0, 0.02**-2.0]
    assert acceleration_precision(times_s[:1], sigma).tolist() == [0, 0]


@pytest.mark.parametrize(("frames", "expected"), [(2, 0.8), (3, 1.07), (17, 1.5)])
def test_steps_are_as_long_as_the_graph_allows(frames: int, expected: float) -> None:
    """All frames with all others: the least eigenvalue of the mean over the others is -1 / (T - 1)."""
    everyone = np.ones((frames, frames)) - np.eye(frames)
    assert relaxation(everyone) == pytest.approx(expected)
    assert relaxation(np.zeros((frames, frames))) == 1.5


def test_two_frames_meet_instead_of_changing_places() -> None:
    scene = TexturedTrack(frames=2)
    jittered = scene.jittered(1.0, seed=3)
    found = refined(scene, jittered)
    assert scene.surface_error_px(found) < 0.5 * scene.surface_error_px(jittered)


def test_slow_means_are_those_of_a_sum_written_out() -> None:
    times_s = np.array([0.0, 0.1, 0.25, 0.3, 1.9])
    found = drift_mean(times_s, np.ones((5, 5)), 0.5)
    for at, here_s in enumerate(times_s):
        weight = [0.5 + 0.5 * np.cos(2 * np.pi * (each - here_s)) for each in times_s]
        weight = [
            value if abs(each - here_s) < 0.5 else 0.0 for value, each in zip(weight, times_s, strict=True)
        ]
        np.testing.assert_allclose(found[at], np.array(weight) / sum(weight), atol=1e-12)
    np.testing.assert_allclose(drift_mean(times_s, np.ones((5, 5)), np.inf), 0.2)


def test_a_frame_that_sees_no_other_is_moved_by_none() -> None:
    neighbours = np.ones((4, 4)) - np.eye(4)
    neighbours[3] = neighbours[:, 3] = 0
    means = drift_mean(np.array([0.0, 0.1, 0.2, 0.9]), neighbours, 1.0)
    assert not means[3].any()
    assert not means[:, 3].any()
    np.testing.assert_allclose(means[:3].sum(axis=1), 1)


def test_drift_goes_and_what_is_fast_stays() -> None:
    """A shift that all frames share goes whole, one that changes sign from frame to frame stays whole."""
    rng, count = np.random.default_rng(1), 120
    times_s, sign = np.arange(count) / 30, (-1.0) ** np.arange(count)
    start = TrackBodies(
        rotation=np.broadcast_to(np.eye(3), (count, 24, 3, 3)),
        translation=rng.normal(0, 1, (count, 3)),
        betas=np.zeros(10),
    )
    means = drift_mean(times_s, np.ones((count, count)), 0.5)
    slow, fast = np.tile(rng.normal(0, 0.02, 75), (count, 1)), sign[:, None] * rng.normal(0, 0.02, 75)
    inner = slice(15, -15)
    without = start.corrected(slow).without_drift(start, means).corrections_since(start)
    np.testing.assert_allclose(without, 0, atol=1e-12)
    without = start.corrected(fast).without_drift(start, means).corrections_since(start)
    np.testing.assert_allclose(without[inner], fast[inner], atol=1e-4)


def test_levels_above_map_size_take_one_step(scene: TexturedTrack, jittered: np.ndarray) -> None:
    """Which is told with the step's number, of all: three of 64, one of 512."""
    heard: list[tuple[str, int, int]] = []
    settings = replace(QUICK, levels_px=(64, 512), iterations=3, points=600)
    refined(scene, jittered, settings, report=lambda *step: heard.append(step))
    assert heard == [("refine", done, 4) for done in range(1, 5)]
