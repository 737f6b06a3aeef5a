"""Bodies from a file become tracks: the same mesh, real quality figures, frames by number or time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.body.model import BodyModel
from pipeline.config import Settings, TrackingSettings
from pipeline.dataset.fingerprint import _files
from pipeline.geometry.camera import (
    Camera,
    translation_from_weak_perspective,
    weak_perspective_from_translation,
)
from pipeline.method.named_files import file_digest
from pipeline.method.resources import Resources
from pipeline.records import ClipRef, Footage, Frame, Track
from pipeline.tracking.imported_bodies import ImportedBodies, write_bodies
from pipeline.tracking.imported_tracker import (
    TIME_TOLERANCE_S,
    ImportedTracker,
    frames_with_tolerance,
    rows_at,
)
from schemas.conventions import IMAGE_PX, VECTOR_BETAS, VECTOR_CAMERA, VECTOR_POSE
from schemas.errors import SourceError
from tests.support.rendered_people import Performance, rendered, walking

SECONDS = 0.3


@pytest.fixture(scope="module")
def performance() -> Performance:
    return walking(turn_deg=20, seconds=SECONDS)


@pytest.fixture(scope="module")
def film(performance: Performance) -> list[Frame]:
    return list(rendered(BodyModel.open_body(), performance))


def bodies_of(performance: Performance) -> ImportedBodies:
    count = len(performance.pose)
    return ImportedBodies(
        person=np.full(count, 3),
        frame_index=np.arange(count),
        pose=performance.pose,
        betas=np.tile(performance.betas, (count, 1)),
        translation_m=performance.translation,
        focal_px=np.full(count, performance.camera.K[0, 0]),
        shape_space="open",
    )


def tracked(
    folder: Path,
    bodies: ImportedBodies,
    film: list[Frame],
    focal_px: float | None = None,
    stated_px: float | None = None,
) -> list[Track]:
    write_bodies(folder / "clip.npz", bodies)
    settings = Settings(tracking=TrackingSettings(tracker="imported", bodies=str(folder)))
    tracker = Resources(settings).tracker
    assert isinstance(tracker, ImportedTracker)
    return tracker.track(
        iter(film), Footage(unit_id="clip-s000-w000", focal_px=focal_px, stated_focal_px=stated_px)
    )


def meshes(track: Track) -> np.ndarray:
    """(T, V, 3) in camera axes, from the stored vectors and intrinsics."""
    place = [
        translation_from_weak_perspective(vector[VECTOR_CAMERA], Camera(K, (IMAGE_PX, IMAGE_PX)))
        for vector, K in zip(track.vector, track.K)
    ]
    pose = track.vector[:, VECTOR_POSE].reshape(-1, 24, 3)
    return BodyModel.open_body().vertices(pose, track.vector[:, VECTOR_BETAS], np.array(place))


def test_the_mesh_is_that_of_the_file_and_fits_the_picture(
    tmp_path: Path, performance: Performance, film: list[Frame]
) -> None:
    (track,) = tracked(tmp_path, bodies_of(performance), film)
    expected = BodyModel.open_body().vertices(performance.pose, performance.betas, performance.translation)
    np.testing.assert_allclose(meshes(track), expected, atol=1e-4)
    assert track.kept.all(), track.reason
    assert np.median(track.quality.silhouette_iou) > 0.8
    assert np.median(track.quality.reprojection_error) < 0.03


def test_a_body_beside_the_person_is_gated_out(
    tmp_path: Path, performance: Performance, film: list[Frame]
) -> None:
    bodies = bodies_of(performance)
    assert bodies.translation_m is not None
    aside = replace(bodies, translation_m=bodies.translation_m + [0.35, 0, 0])
    assert not any(track.kept.any() for track in tracked(tmp_path, aside, film))


def test_weak_perspective_in_crops_and_a_known_lens(
    tmp_path: Path, performance: Performance, film: list[Frame]
) -> None:
    bodies, camera = bodies_of(performance), performance.camera
    assert bodies.translation_m is not None
    crops = np.tile([360.0, 270.0, 420.0], (len(bodies), 1))
    weak = weak_perspective_from_translation(bodies.translation_m, camera.cropped(crops[0], IMAGE_PX))
    weakly = replace(bodies, translation_m=None, focal_px=None, weak=weak, crop_px=crops)
    (track,) = tracked(tmp_path, weakly, film, focal_px=float(camera.K[0, 0]))
    expected = BodyModel.open_body().vertices(performance.pose, performance.betas, performance.translation)
    np.testing.assert_allclose(meshes(track), expected, atol=1e-4)


def test_the_films_lens_wins_over_an_assumed_one(
    tmp_path: Path, performance: Performance, film: list[Frame]
) -> None:
    bodies = bodies_of(performance)
    assert bodies.translation_m is not None
    assert bodies.focal_px is not None
    far = bodies.translation_m * [1, 1, 6]
    assumed = replace(
        bodies, translation_m=far, focal_px=6 * bodies.focal_px, focal_is_assumed=np.ones(len(bodies), bool)
    )
    focal_px = float(performance.camera.K[0, 0])
    (track,) = tracked(tmp_path, assumed, film, focal_px=focal_px)
    assert track.focal_source == "given"
    (stated,) = tracked(tmp_path, assumed, film, stated_px=focal_px)
    assert stated.focal_source == "file"
    np.testing.assert_array_equal(stated.vector, track.vector)
    # where bodies stand in the film's own camera, what the file says does not move them
    for kept in (tracked(tmp_path, bodies, film), tracked(tmp_path, bodies, film, stated_px=2 * focal_px)):
        assert kept[0].focal_source == "given"
        np.testing.assert_allclose(kept[0].K[:, 0, 0] * kept[0].crop_px[:, 2] / IMAGE_PX, focal_px)
    expected = BodyModel.open_body().vertices(performance.pose, performance.betas, performance.translation)
    np.testing.assert_allclose(meshes(track), expected, atol=1e-4)
    (track,) = tracked(tmp_path, assumed, film)
    # nobody knows the lens: the medium one of method.md
    assert track.focal_source == "assumed"
    np.testing.assert_allclose(
        track.K[:, 0, 0] * track.crop_px[:, 2] / IMAGE_PX, track.K[0, 0, 0] * track.crop_px[0, 2] / IMAGE_PX
    )
    assert 2 < meshes(track)[..., 2].mean() < 12


def test_times_find_their_frames(performance: Performance) -> None:
    bodies = bodies_of(performance)
    timed = replace(bodies, frame_index=None, pts_s=np.arange(len(bodies)) / 30 + 0.001)
    picture = np.zeros((2, 2, 3), np.uint8)
    assert rows_at(timed, Frame(index=77, pts_s=4 / 30, image=picture)) == [4]
    assert rows_at(timed, Frame(index=4, pts_s=4.5 / 30, image=picture)) == []
    assert rows_at(bodies, Frame(index=4, pts_s=99.0, image=picture)) == [4]


def test_what_is_missing_is_said(tmp_path: Path, performance: Performance, film: list[Frame]) -> None:
    with pytest.raises(SourceError, match="of 'smpl', the body in use those of 'open'"):
        tracked(tmp_path, replace(bodies_of(performance), shape_space="smpl"), film)
    settings = Settings(tracking=TrackingSettings(tracker="imported", bodies=str(tmp_path)))

    def never() -> Iterator[Frame]:
        raise AssertionError("no frame is needed to say so")
        yield

    with pytest.raises(SourceError, match="holds no bodies of the clip 'other'"):
        Resources(settings).tracker.track(never(), Footage(unit_id="other-s000-w000"))


def test_a_units_fingerprint_holds_its_bodies(tmp_path: Path, performance: Performance) -> None:
    clip = ClipRef(clip_id="clip", uri="clip.mp4", source_id="clip")
    prints = set()
    for name, bodies in (
        ("none", None),
        ("one", bodies_of(performance)),
        ("two", bodies_of(performance).rows(np.arange(3))),
    ):
        if bodies is not None:
            write_bodies(tmp_path / name / "clip.npz", bodies)
        tracking = TrackingSettings(tracker="imported", bodies=str(tmp_path / name))
        facts = _files(clip, Settings(tracking=tracking))
        assert len(facts) == (bodies is not None)
        prints |= {file_digest(path) for path in facts}
    assert len(prints) == 2
    assert _files(replace(clip, clip_id="other"), Settings(tracking=tracking)) == []


@pytest.mark.parametrize(
    ("bodies_fps", "film_fps", "expected"),
    [
        (30, 25, [0, 1, 2, 4, 5, 6, 7, 8]),  # each frame takes the nearest body
        (30, 60, [0, None, 1, None, 2, None, 3, None]),  # no body stands for two frames
        (10, 30, [0, None, None, 1, None, None, 2, None]),
        (120, 30, [0, 4, 8, 12, 16, 20, 24, 28]),
    ],
)
def test_bodies_at_another_rate_than_the_films(
    performance: Performance, bodies_fps: int, film_fps: int, expected: list[int | None]
) -> None:
    few = bodies_of(performance)
    which = np.arange(40) % len(few)
    timed = replace(few.rows(which), frame_index=None, pts_s=np.arange(40) / bodies_fps)
    picture = np.zeros((2, 2, 3), np.uint8)
    frames = [Frame(index=number, pts_s=number / film_fps, image=picture) for number in range(8)]
    found = [
        rows_at(timed, frame, tolerance_s) for frame, tolerance_s in frames_with_tolerance(frames, timed)
    ]
    assert found == [[] if row is None else [row] for row in expected]
    assert list(frames_with_tolerance([], timed)) == []
    ((_, alone),) = frames_with_tolerance(frames[:1], few)
    assert alone == TIME_TOLERANCE_S
