"""Static lighting: its coefficients are found again, and bodies no longer follow it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from pipeline.config import RefineSettings
from pipeline.refine.refinement import refined_vectors, window_weights
from pipeline.refine.static_lighting import fitted_lighting
from pipeline.refine.static_lighting_kernels import COEFFICIENTS, add_lighting_equations, facing_basis
from pipeline.refine.track_frames import TrackFrames
from pipeline.rendering.compiled import CompiledRasterizer
from tests.support.robust import robust_weight
from tests.support.textured_track import TexturedTrack


def basis_of(normals: np.ndarray) -> np.ndarray:
    basis = np.full((len(normals), COEFFICIENTS), np.nan, np.float32)
    facing_basis(np.ascontiguousarray(normals), basis)
    return basis


def test_the_basis_is_that_of_spherical_harmonics() -> None:
    """Orthogonal over the sphere, to the constant too, and the same for normals of any length."""
    normals = np.random.default_rng(0).standard_normal((200_000, 3))
    basis = basis_of(normals).astype(np.float64)
    np.testing.assert_allclose(basis[:100], basis_of(7 * normals[:100]), atol=1e-6)
    np.testing.assert_allclose(basis.mean(axis=0), 0, atol=0.01)
    product = basis.T @ basis / len(basis)
    np.testing.assert_allclose(product - np.diag(np.diag(product)), 0, atol=0.01)
    # The means of squares over the sphere, in closed form: 1/3, 1/15, 4/15 and 4/5.
    np.testing.assert_allclose(np.diag(product), [1 / 3] * 3 + [1 / 15] * 3 + [4 / 15, 4 / 5], atol=0.01)


def turning_points(frames: int, degrees: float) -> np.ndarray:
    """(T, P, 8) basis of normals that turn, not about one axis: light that is the same all around it tells nothing."""
    normals = np.random.default_rng(2).standard_normal((300, 3))
    at = np.arange(frames)[:, None]
    turns = Rotation.from_rotvec(np.radians(degrees) * np.hstack([2 * np.sin(at), at, 2 * np.cos(2 * at)]))
    return np.stack([basis_of(turn.apply(normals)) for turn in turns])


def fit(basis: np.ndarray, value: np.ndarray, seen: np.ndarray) -> np.ndarray:
    neighbours = window_weights(np.arange(len(basis)) / 30, 0.5)
    return fitted_lighting(
        basis, value, seen, neighbours, min_support=0.5, least_sigma=0.02, sample_weight=1.0
    )


def test_the_light_of_a_turning_surface_is_found_whatever_its_colours() -> None:
    """Also where a tenth of the points show something else in some frames, and points come and go."""
    rng, basis = np.random.default_rng(3), turning_points(12, 6.0)
    light = 0.3 * rng.standard_normal((COEFFICIENTS, 3))
    colours = rng.uniform(-2, 0, (1, basis.shape[1], 3))
    value = (colours + basis @ light).astype(np.float32)
    seen = (rng.uniform(size=basis.shape[:2]) > 0.3).astype(np.float64)
    np.testing.assert_allclose(fit(basis, value, seen), light, atol=0.01)
    value[rng.uniform(size=basis.shape[:2]) < 0.1] += 1.5
    np.testing.assert_allclose(fit(basis, value, seen), light, atol=0.05)


def test_what_does_not_turn_tells_nothing() -> None:
    rng, basis = np.random.default_rng(4), turning_points(8, 0.0)
    value = rng.standard_normal((8, basis.shape[1], 3)).astype(np.float32)
    np.testing.assert_allclose(fit(basis, value, np.ones(basis.shape[:2])), 0, atol=1e-5)
    hidden = np.zeros(basis.shape[:2])
    np.testing.assert_array_equal(fit(turning_points(8, 5.0), value, hidden), 0)


def test_equations_are_weighted_products_by_the_median_of_the_residuals() -> None:
    rng = np.random.default_rng(4)
    basis, apart = rng.normal(size=(501, 8)).astype(np.float32), rng.normal(size=501).astype(np.float32)
    counted, lighting = rng.uniform(0.1, 1, 501).astype(np.float32), rng.normal(size=8)
    hessian, gradient = np.eye(8), np.zeros(8)
    scratch = np.empty((2, 501), np.float32)
    add_lighting_equations(basis, apart, counted, lighting, 0.02, 0.3, *scratch, hessian, gradient)
    weight = 0.3 * robust_weight(apart - basis @ lighting, counted, 0.02)
    np.testing.assert_allclose(hessian, np.eye(8) + (weight[:, None] * basis).T @ basis, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradient, (weight[:, None] * basis).T @ apart, rtol=1e-4, atol=1e-4)


def test_robust_weights_are_those_of_geman_and_mcclure() -> None:
    residual = np.array([0.0, 0.3, -0.3, 30.0])
    weight = robust_weight(residual, np.array([1.0, 1.0, 2.0, 1.0]), 0.1)
    sigma = 1.4826 * 0.3  # the median of the sizes
    np.testing.assert_allclose(weight[0], 1 / sigma**2)
    np.testing.assert_allclose(weight[2], 2 / (sigma * (1 + (0.3 / (3 * sigma)) ** 2)) ** 2)
    assert weight[3] < 1e-3 * weight[0]
    assert robust_weight(residual, np.zeros(4), 0.1).tolist() == [0] * 4


@pytest.fixture(scope="module")
def lit() -> TexturedTrack:
    return TexturedTrack(turn_deg=6.0, is_lit=True)


def test_bodies_do_not_follow_the_light(lit: TexturedTrack) -> None:
    """Exact bodies under a lamp from the side: without the light's share, shading drags them along as they turn."""
    settings = RefineSettings(mode="track", levels_px=(96, 192), iterations=5, points=2000)
    times_s = np.arange(lit.frames) / 30
    frames = TrackFrames(
        pictures=lit.pictures.__getitem__,
        cameras=[lit.camera] * lit.frames,
        pts_s=times_s,
        neighbours=window_weights(times_s, 0.5),
    )
    error = {}
    for is_on in (False, True):
        found = refined_vectors(
            frames,
            lit.vectors,
            BodyModel.open_body(),
            CompiledRasterizer(),
            replace(settings, static_lighting=is_on),
        )
        error[is_on] = lit.surface_error_px(found)
    assert error[True] < 0.7 * error[False], error
