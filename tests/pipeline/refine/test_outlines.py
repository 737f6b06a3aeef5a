"""What a person's outline says of the dressed surface: where it is read, where it is not, and what comes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.body.model import BodyModel
from pipeline.config import RefineSettings
from pipeline.geometry.camera import Camera
from pipeline.refine.dressed_shape import DressedShape, dressed
from pipeline.refine.outline_kernel import reach_outline
from pipeline.refine.outlines import FRAMES, ROBUST_M, with_outlines
from pipeline.refine.refinement import refined_vectors, window_weights
from pipeline.refine.shared_offset import OffsetPrior, OffsetSystem
from pipeline.refine.surface_points import SurfacePoints, spread_points
from pipeline.refine.track_frames import TrackFrames
from pipeline.rendering.compiled import CompiledRasterizer
from pipeline.rendering.rasterizer import render
from tests.support.textured_track import TexturedTrack

SIDE, CELLS, FOCAL_PX, DEPTH_M, RADIUS_M = 256, 128, 800.0, 3.0, 0.3
LENS = np.array([FOCAL_PX, FOCAL_PX, SIDE / 2, SIDE / 2])


def ball(count: int) -> np.ndarray:
    """(count, 3) unit vectors, evenly spread."""
    height = 1 - 2 * (np.arange(count) + 0.5) / count
    angle = np.arange(count) * np.pi * (3 - np.sqrt(5))
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), height], axis=1)


def disc(side: int, radius_m: float, x_m: float = 0.0) -> np.ndarray:
    """(side, side) bool: the picture of a ball that stands in the middle, or x_m to the right."""
    centre = (np.arange(side) + 0.5) * SIDE / side - SIDE / 2
    sine = radius_m / DEPTH_M
    radius_px = FOCAL_PX * sine / np.sqrt(1 - sine**2)
    return np.asarray(np.hypot(*np.meshgrid(centre - FOCAL_PX * x_m / DEPTH_M, centre)) < radius_px)


def ways(person: np.ndarray, body: np.ndarray, most_m: float = 0.08, most_cosine: float = 0.08) -> np.ndarray:
    normals = ball(4000)
    way = np.zeros(len(normals), np.float32)
    reach_outline(
        RADIUS_M * normals, normals, np.zeros((4000, 1), np.int64), np.ones((4000, 1)), np.eye(3)[None],
        np.array([[0, 0, DEPTH_M]]), LENS, np.where(body, 1 / DEPTH_M, 0.0),
        person.astype(np.uint8), most_cosine, -0.03, most_m, way,
    )  # fmt: skip
    return way


@pytest.mark.parametrize("thickness_m", [-0.015, 0.0, 0.02, 0.05])
def test_the_outline_of_a_larger_ball_lies_outside_by_the_difference(thickness_m: float) -> None:
    way = ways(disc(CELLS, RADIUS_M + thickness_m), disc(SIDE, RADIUS_M))
    known = np.isfinite(way)
    assert 200 < known.sum() < 400
    rim = np.abs(np.einsum("qc,qc->q", ball(4000), RADIUS_M * ball(4000) + [0, 0, DEPTH_M])) / DEPTH_M
    assert rim[known].max() < 0.09
    cell_m = DEPTH_M / FOCAL_PX * SIDE / CELLS
    assert way[known].mean() == pytest.approx(thickness_m, abs=0.15 * cell_m)
    assert np.abs(way[known] - thickness_m).max() < 0.8 * cell_m


def test_points_that_cannot_tell_say_nothing() -> None:
    body, person = disc(SIDE, RADIUS_M), disc(CELLS, RADIUS_M + 0.02)
    assert np.isnan(ways(np.ones((CELLS, CELLS), bool), body)).all()  # nobody knows where the person ends
    assert np.isnan(ways(np.ones((1, 1), bool), body)).all()
    assert np.isnan(ways(np.zeros((CELLS, CELLS), bool), body)).all()
    assert np.isnan(ways(disc(CELLS, RADIUS_M + 0.1), body)).all()  # farther than one looks
    assert np.isnan(ways(person, np.ones((SIDE, SIDE), bool))).all()  # the body does not end there
    beside = body | disc(SIDE, 0.05, x_m=RADIUS_M + 0.06)  # another limb, one centimetre off
    right = ball(4000)[:, 0] > 0.99
    wide = disc(CELLS, RADIUS_M + 0.05)
    assert np.isfinite(ways(wide, body)[right]).any()
    assert np.isnan(ways(wide, beside)[right]).all()
    np.testing.assert_array_equal(ways(wide, beside)[~right & (ball(4000)[:, 0] < 0.9)],
                                  ways(wide, body)[~right & (ball(4000)[:, 0] < 0.9)])  # fmt: skip


@pytest.fixture(scope="module")
def points() -> SurfacePoints:
    return spread_points(BodyModel.open_body(), 2000, 0.15)


def constant(points: SurfacePoints, *outlines_m: float) -> np.ndarray:
    return np.repeat(np.array(outlines_m, np.float32)[:, None], len(points.face), axis=1)


def test_pictures_and_outlines_are_weighed_as_least_squares_do(points: SurfacePoints) -> None:
    """Against a dense solver, with outlines near enough to each other that robust weights hardly matter."""
    rng, count = np.random.default_rng(0), len(points.face)
    design = np.zeros((count, points.node_count))
    np.put_along_axis(design, points.node, points.node_weight, axis=1)
    prior = OffsetPrior(mean_m=0.01, sigma_m=0.02, range_m=(-1.0, 1.0))
    start, system = np.full(points.node_count, 0.012), OffsetSystem(points)
    square, seen_m = rng.uniform(0, 2e3, count), 0.012 + 0.001 * rng.standard_normal(count)
    system.square[:], system.product[:] = square, square * (design @ start - seen_m)
    outline_m = (0.011 + 0.0005 * rng.standard_normal((2, count))).astype(np.float32)
    outline_m[1, ::2] = np.nan
    found, sigma_m = with_outlines(system, start, outline_m, prior, 0.03)
    rows, right = [np.sqrt(square)[:, None] * design], [np.sqrt(square) * seen_m]
    for of_frame in outline_m:
        known = np.isfinite(of_frame)
        rows.append(design[known] / 0.03)
        right.append(of_frame[known] / 0.03)
    rows.append(np.eye(points.node_count) / 0.02)
    right.append(np.full(points.node_count, 0.01 / 0.02))
    design, wanted = np.concatenate(rows), np.concatenate(right)
    np.testing.assert_allclose(found, np.linalg.lstsq(design, wanted, rcond=None)[0], atol=2e-5)
    np.testing.assert_allclose(sigma_m, np.sqrt(np.diag(np.linalg.inv(design.T @ design))), rtol=0.01)


def test_many_frames_count_as_a_few_and_a_stray_one_as_none(points: SurfacePoints) -> None:
    prior = OffsetPrior(mean_m=0.0, sigma_m=0.02, range_m=(-1.0, 1.0))
    start, none = np.zeros(points.node_count), OffsetSystem(points)
    few, few_sigma = with_outlines(none, start, constant(points, *[0.02] * FRAMES), prior, 0.05)
    many, many_sigma = with_outlines(none, start, constant(points, *[0.02] * 50), prior, 0.05)
    np.testing.assert_allclose(many, few, rtol=1e-6)
    np.testing.assert_allclose(many_sigma, few_sigma, rtol=1e-6)
    assert 0.01 < few.min() <= few.max() < 0.021
    stray, _ = with_outlines(none, start, constant(points, 0.02, 0.02, 20 * ROBUST_M), prior, 0.005)
    sober, _ = with_outlines(none, start, constant(points, 0.02, 0.02), prior, 0.005)
    np.testing.assert_allclose(stray, sober, atol=2e-4)
    unseen, unsure = with_outlines(
        none, start, np.full((3, len(points.face)), np.nan, np.float32), prior, 0.05
    )
    np.testing.assert_allclose(unseen, 0)
    np.testing.assert_allclose(unsure, 0.02)


def test_a_dressed_person_is_dressed_again_by_the_outline() -> None:
    """The skin of a turning body is known, the person is 3 cm thicker all around: pictures see nothing, outlines do."""
    scene, thickness_m = TexturedTrack(frames=8, turn_deg=12.0, is_textured=False), 0.03
    body, rasterizer = BodyModel.open_body(), CompiledRasterizer()
    fine = scene.camera.resized((CELLS, CELLS))
    persons = [
        render(rasterizer, dressed(skin, np.full(len(skin), thickness_m), body.faces), body.faces, fine).mask
        for skin in scene.vertices(scene.vectors)
    ]
    times_s = np.arange(scene.frames) / 30
    frames = TrackFrames(
        pictures=scene.pictures.__getitem__, cameras=[scene.camera] * scene.frames, pts_s=times_s,
        neighbours=window_weights(times_s, 0.5), person=lambda at: persons[at].astype(np.uint8),
    )  # fmt: skip
    settings = RefineSettings(levels_px=(96, 192), iterations=2, points=4000, offset_sigma_m=0.03)
    found: dict[bool, DressedShape] = {}
    for outlines in (False, True):
        asked = replace(settings, outlines=outlines)
        refined_vectors(frames, scene.vectors, body, rasterizer, asked, None, keep(found, outlines))
    offset_m, sigma_m = found[True].at_vertices(body)
    np.testing.assert_allclose(found[False].at_vertices(body)[0], 0, atol=1e-9)
    sure = sigma_m < 0.5 * settings.offset_sigma_m
    assert sure.mean() > 0.5
    assert np.median(offset_m[sure]) == pytest.approx(thickness_m, abs=0.004)
    assert np.abs(offset_m[sure] - thickness_m).mean() < 0.008


def keep(found: dict[bool, DressedShape], outlines: bool) -> Any:
    return lambda shape: found.__setitem__(outlines, shape)


def test_the_camera_of_these_tests_is_the_lens_of_the_kernel() -> None:
    camera = Camera(np.array([[FOCAL_PX, 0, SIDE / 2], [0, FOCAL_PX, SIDE / 2], [0, 0, 1]]), (SIDE, SIDE))
    np.testing.assert_array_equal(camera.lens, LENS)
