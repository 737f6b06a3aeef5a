"""The seam from frames to tracks: boxes, cameras, quality, gates, and the vector that says where the body stands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.config import CameraSettings, GateSettings
from pipeline.geometry.camera import Camera, translation_from_weak_perspective
from pipeline.records import Quality
from pipeline.tracking.people import Observations
from pipeline.tracking.quality import (
    acceleration_mm,
    border_distance_px,
    gate_reasons,
    reprojection_error,
    shared_boxes,
)
from pipeline.tracking.silhouette import CONTOUR_POINTS, MASK_PX, Silhouettes
from pipeline.tracking.tracker import full_camera, person_boxes
from schemas.conventions import IMAGE_PX


def observations(count: int = 4) -> Observations:
    rng = np.random.default_rng(0)
    identity = np.tile(np.array([[1.0, 0, 0], [0, 1, 0]]), (count, 1, 1))
    return Observations(
        frame_index=np.arange(count),
        pts_s=np.arange(count) / 30,
        image_hw=(200, 300),
        xy_px=rng.uniform([50, 40], [150, 180], (count, 33, 2)),
        visibility=np.ones((count, 33)),
        presence=np.ones((count, 33)),
        world_m=np.zeros((count, 33, 3)),
        score=np.ones(count),
        segmentation=np.zeros((count, 8, 8), np.uint8),
        image_from_segmentation=identity,
    )


def silhouettes(contour_px: np.ndarray, *, seen: bool) -> Silhouettes:
    count = len(contour_px)
    return Silhouettes(
        mask_bits=np.full((count, MASK_PX, MASK_PX // 8), 255 * seen, np.uint8),
        mask_from_image=np.zeros((count, 2, 3)),
        px_per_cell=np.ones(count),
        contour_px=contour_px,
        contour_weight=np.ones((count, CONTOUR_POINTS)),
        outside_px=np.zeros((count, 1, 1), np.float32),
    )


def test_boxes_span_visible_landmarks_and_the_outline() -> None:
    seen = observations()
    nothing = silhouettes(np.zeros((4, CONTOUR_POINTS, 2)), seen=False)
    boxes = person_boxes(seen, nothing)
    np.testing.assert_allclose(boxes[:, :2], seen.xy_px.min(axis=1))
    np.testing.assert_allclose(boxes[:, 2:], seen.xy_px.max(axis=1))
    hidden = replace(seen, xy_px=np.where(np.arange(33)[:, None] == 5, [290.0, 5.0], seen.xy_px))
    visibility = hidden.visibility.copy()
    visibility[:, 5] = 0.1
    hidden = replace(hidden, visibility=visibility)
    assert (person_boxes(hidden, nothing)[:, 2] < 200).all()
    outline = np.full((4, CONTOUR_POINTS, 2), 100.0)
    outline[:, 3] = [250.0, -20.0]
    wider = person_boxes(seen, silhouettes(outline, seen=True))
    np.testing.assert_allclose(wider[:, 2], 250)
    np.testing.assert_allclose(wider[:, 1], 0)  # cut to the image
    invisible = replace(seen, visibility=np.zeros((4, 33)))
    np.testing.assert_allclose(person_boxes(invisible, nothing), boxes)


def test_the_assumed_lens_is_the_published_one() -> None:
    crops = np.array([[100.0, 90, 224], [101, 90, 224], [102, 90, 400]])
    camera = full_camera((480, 640), crops, None, CameraSettings())
    assert camera.K[0, 0] == pytest.approx(500)
    assert camera.K[:2, 2].tolist() == [320, 240]
    assert full_camera((480, 640), crops, 777.0, CameraSettings()).K[1, 1] == 777


def test_crop_and_full_image_place_a_point_at_the_same_pixel() -> None:
    full = full_camera((480, 640), np.array([[100.0, 90, 224]]), None, CameraSettings())
    crop = full.cropped(np.array([137.5, 201.25, 333.0]), IMAGE_PX)
    points = np.random.default_rng(1).uniform([-1, -1, 3], [1, 1, 6], (50, 3))
    in_image = (crop.px_from_cam(points) / IMAGE_PX - 0.5) * 333 + [137.5, 201.25]
    np.testing.assert_allclose(in_image, full.px_from_cam(points), atol=1e-9)


def test_error_counts_visible_landmarks_in_heights() -> None:
    seen = observations()
    moved = seen.xy_px + [3.0, 4.0]
    np.testing.assert_allclose(reprojection_error(moved, seen), 5 / seen.size_px)
    visibility = seen.visibility.copy()
    visibility[:, 11] = 0.2
    spoiled = moved.copy()
    spoiled[:, 11] += 500
    np.testing.assert_allclose(
        reprojection_error(spoiled, replace(seen, visibility=visibility)), 5 / seen.size_px
    )
    assert (reprojection_error(moved, replace(seen, visibility=np.zeros((4, 33)))) == 1).all()


@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0])
def test_acceleration_is_per_squared_thirtieth_of_a_second(fps: float) -> None:
    times = np.arange(20) / fps
    falling = np.zeros((20, 33, 3))
    falling[..., 1] = 0.5 * 9.81 * times[:, None] ** 2
    np.testing.assert_allclose(acceleration_mm(falling + [0, 0, 5.0], times), 9.81 * 1000 / 900, rtol=1e-3)
    assert acceleration_mm(falling[:2], times[:2]).tolist() == [0, 0]


def test_distance_to_the_border() -> None:
    boxes = np.array([[10, 20, 50, 60], [1, 20, 50, 60], [10, 20, 298, 60], [10, 20, 50, 199.5]])
    assert border_distance_px(boxes, (200, 300)).tolist() == [10, 1, 2, 0.5]


def test_shared_boxes_are_of_the_same_frame() -> None:
    left, right = np.array([0.0, 0, 10, 10]), np.array([5.0, 0, 15, 10])
    far = np.array([100.0, 0, 110, 10])
    index = [np.array([3, 4, 5]), np.array([4, 5, 9]), np.array([4])]
    boxes = [np.stack([left, left, left]), np.stack([right, far, left]), far[None]]
    one, other, third = shared_boxes(index, boxes)
    np.testing.assert_allclose(one, [0, 1 / 3, 0])
    np.testing.assert_allclose(other, [1 / 3, 0, 0])
    np.testing.assert_allclose(third, [0])


def test_every_gate_has_its_reason_and_nan_fails() -> None:
    good = {"detector_score": 0.95, "reprojection_error": 0.01, "silhouette_iou": 0.8, "acceleration_mm": 5.0,
            "border_distance_px": 9.0, "overlap": 0.0}  # fmt: skip
    frames = [
        (good, ""),
        (good | {"detector_score": 0.89}, "low-score"),
        (good | {"border_distance_px": 0.5}, "at-image-border"),
        (good | {"overlap": 0.2}, "people-overlap"),
        (good | {"reprojection_error": 0.031}, "high-reprojection-error"),
        (good | {"reprojection_error": float("nan")}, "high-reprojection-error"),
        (good | {"silhouette_iou": 0.69}, "low-silhouette-iou"),
        (good | {"silhouette_iou": 0.1, "overlap": 0.9}, "people-overlap"),
    ]
    quality = Quality(**{name: np.array([values[name] for values, _ in frames]) for name in good})
    assert gate_reasons(quality, GateSettings()) == tuple(reason for _, reason in frames)


@pytest.mark.parametrize("usual", [0.002, 0.006, 0.02])
def test_frames_unlike_their_track_are_dropped(usual: float) -> None:
    """Three times the median, which counts as .003 at least; beyond .03 of the height all are."""
    factors = np.r_[np.ones(8), 2.9, 3.1, 5.0]
    error = factors * usual
    names = ("detector_score", "silhouette_iou", "acceleration_mm", "border_distance_px", "overlap")
    good = {name: np.full(11, value) for name, value in zip(names, (0.99, 0.9, 5.0, 9.0, 0.0), strict=True)}
    reasons = gate_reasons(Quality(reprojection_error=error, **good), GateSettings())
    expected = [
        "high-reprojection-error"
        if value > 0.03
        else "error-above-usual"
        if value > 3 * max(usual, 0.003)
        else ""
        for value in error
    ]
    assert reasons == tuple(expected)
    loose = gate_reasons(Quality(reprojection_error=error, **good), GateSettings(max_error_over_usual=1e9))
    assert set(loose) <= {"", "high-reprojection-error"}


def test_weak_perspective_round_trip_off_the_centre() -> None:
    crop = Camera(np.array([[900.0, 0, 100], [0, 900, 300], [0, 0, 1]]), (IMAGE_PX, IMAGE_PX))
    weak = np.array([0.9, 0.1, -0.2])
    translation = translation_from_weak_perspective(weak, crop)
    # The defining equation: the body's origin lands at s (t) in [-1, 1] of the crop.
    px = crop.px_from_cam(translation)
    np.testing.assert_allclose(px, (weak[0] * weak[1:] + 1) * IMAGE_PX / 2, atol=1e-9)
