"""Rasters and surface motion in scenes with known answers."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from pipeline.geometry.motion import motion_field
from pipeline.geometry.posed_surface import PosedSurface, RenderedSurface
from pipeline.geometry.raster import Raster, raster_from_face_ids
from pipeline.geometry.rigid import rotation_angle, rotation_from_rotvec
from pipeline.geometry.rings import two_ring
from pipeline.geometry.surface import SurfaceMotion, stored_motion, surface_motion
from schemas.motion import decode_motion
from tests.support.scenes import CLOSED_SCENES, ClosedScene, block, icosphere, sheet, square_camera
from tests.support.surfaces import rendered

NAMES = list(CLOSED_SCENES)


@cache
def _closed(name: str) -> tuple[ClosedScene, Raster, SurfaceMotion]:
    scene = CLOSED_SCENES[name]()
    target = rendered(scene.target, scene.faces, scene.camera)
    return scene, target.raster, _motion(target, scene.reference)


def _motion(target: RenderedSurface, reference_vertices: np.ndarray) -> SurfaceMotion:
    """To a reference in the same camera."""
    reference = PosedSurface(vertices=reference_vertices, faces=target.faces, camera=target.camera)
    rings = two_ring(target.faces, target.vertex_count)
    field = motion_field(target=target, reference=reference, rings=rings)
    return surface_motion(field, target=target, reference=reference)


def _true_points(scene: ClosedScene, pixel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Surface points (n, 3) of pixels in closed form, and where they lie in the reference image (n, 2)."""
    row, column = np.divmod(pixel, scene.camera.hw[1])
    points = scene.camera.cam_from_px(np.stack([column, row], axis=1) + 0.5, scene.depth[row, column])
    return points, scene.reference_camera.px_from_cam(scene.moved[row, column])


@pytest.mark.parametrize("name", NAMES)
def test_mask_and_depth(name: str) -> None:
    scene, raster, _ = _closed(name)
    np.testing.assert_array_equal(raster.mask, scene.depth > 0)
    inside = raster.mask & ~scene.steep
    assert inside.sum() > 0.4 * raster.mask.sum()
    assert np.abs(raster.depth - scene.depth)[inside].max() <= 1e-5
    np.testing.assert_array_equal(raster.depth[~raster.mask], 0)
    np.testing.assert_allclose(raster.barycentric.sum(-1), raster.mask, rtol=0, atol=1e-12)
    assert raster.barycentric.min() >= 0


@pytest.mark.parametrize("name", NAMES)
def test_reprojection_before_storage(name: str) -> None:
    scene, _, motion = _closed(name)
    points, expected = _true_points(scene, motion.pixel)
    moved = np.einsum("nij,nj->ni", motion.rotation, points) + motion.translation
    error = np.linalg.norm(scene.reference_camera.px_from_cam(moved) - expected, axis=1)
    assert np.percentile(error, 99) <= 0.01


@pytest.mark.parametrize("depth_step_m", [0.0, 1e-4], ids=["exact depth", "stored depth"])
@pytest.mark.parametrize("name", NAMES)
def test_reprojection_after_the_stored_form(name: str, depth_step_m: float) -> None:
    """Through float16 and the decoder, base depth exact or rounded to the tenth of a millimetre that is stored."""
    scene, raster, motion = _closed(name)
    depth = np.round(raster.depth / depth_step_m) * depth_step_m if depth_step_m else raster.depth
    rotation, translation = decode_motion(stored_motion(motion), depth, scene.camera.K, scene.camera.hw)
    points, expected = _true_points(scene, motion.pixel)
    rotation, translation = rotation.reshape(-1, 3, 3)[motion.pixel], translation.reshape(-1, 3)[motion.pixel]
    moved = np.einsum("nij,nj->ni", rotation, points) + translation
    error = np.linalg.norm(scene.reference_camera.px_from_cam(moved) - expected, axis=1)
    assert np.percentile(error, 99) <= 0.02


def test_the_stored_form_errs_by_the_spacing_of_float16() -> None:
    """Half a float16 step of each component of the displacement, seen from the surface point's distance."""
    scene, raster, motion = _closed("block")
    _, translation = decode_motion(stored_motion(motion), raster.depth, scene.camera.K, scene.camera.hw)
    half_step = np.spacing(np.abs(motion.displacement).astype(np.float16)).astype(float) / 2
    rotation, _ = decode_motion(stored_motion(motion), raster.depth, scene.camera.K, scene.camera.hw)
    stored = np.einsum("nij,nj->ni", rotation.reshape(-1, 3, 3)[motion.pixel], motion.point)
    stored += translation.reshape(-1, 3)[motion.pixel]
    assert (np.abs(stored - motion.moved) <= half_step * 1.001 + 1e-9).all()


def test_pixels_without_a_body_decode_to_no_motion() -> None:
    scene, raster, motion = _closed("plane")
    rotation, translation = decode_motion(
        stored_motion(motion), raster.depth, scene.camera.K, scene.camera.hw
    )
    outside = ~raster.mask
    np.testing.assert_array_equal(rotation[outside], np.broadcast_to(np.eye(3), rotation[outside].shape))
    np.testing.assert_array_equal(translation[outside], 0)


@pytest.mark.parametrize("name", ["sphere", "plane", "block"])
def test_every_pixel_of_a_rigid_body_has_the_bodys_motion(name: str) -> None:
    scene, _, motion = _closed(name)
    R, t = motion.rotation[0], motion.translation[0]
    np.testing.assert_allclose(scene.target @ R.T + t, scene.reference, rtol=0, atol=1e-9)
    np.testing.assert_allclose(motion.rotation, np.broadcast_to(R, motion.rotation.shape), rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        motion.translation, np.broadcast_to(t, motion.translation.shape), rtol=0, atol=1e-8
    )


@pytest.mark.parametrize("angle_deg", [1.0, 6.4, 20.0])
def test_baseline_map_of_a_turned_body(angle_deg: float) -> None:
    """A body at depth Z turned by a about its upright axis: |t| = 2 Z sin(a/2) at every pixel, to 1e-6."""
    mesh, camera, centre = icosphere(4, 0.6), square_camera(128), np.array([0.0, 0.0, 4.5])
    R = rotation_from_rotvec(np.array([0.0, np.radians(angle_deg), 0.0]))
    target, reference = mesh.vertices + centre, mesh.vertices @ R.T + centre
    motion = _motion(rendered(target, mesh.faces, camera), reference)
    np.testing.assert_allclose(motion.baseline_m, 9.0 * np.sin(np.radians(angle_deg) / 2), rtol=0, atol=1e-6)
    np.testing.assert_allclose(rotation_angle(motion.rotation), np.radians(angle_deg), rtol=0, atol=1e-9)


def test_the_moved_surface_point_is_exact_where_rotations_differ() -> None:
    """t keeps R p + t on the reference surface, however the rotations of a triangle's corners are blended."""
    mesh, camera = block((0.8, 0.8, 0.8), 6), square_camera(96)
    target = mesh.vertices + [0, 0, 4]
    reference = np.einsum(
        "nij,nj->ni", rotation_from_rotvec(np.outer(mesh.vertices[:, 1], [0.1, 2.0, 0])), mesh.vertices
    )
    surface = rendered(target, mesh.faces, camera)
    raster, motion = surface.raster, _motion(surface, reference + [0, 0, 4])
    on_surface = np.einsum(
        "nk,nkc->nc", raster.barycentric[raster.mask], reference[mesh.faces[raster.face_id[raster.mask]]]
    )
    moved = np.einsum("nij,nj->ni", motion.rotation, motion.point) + motion.translation
    np.testing.assert_allclose(moved, on_surface + [0, 0, 4], rtol=0, atol=1e-12)
    np.testing.assert_allclose(motion.point[:, 2], raster.depth[raster.mask], rtol=0, atol=1e-12)


def test_wrong_ids_and_sizes_are_refused() -> None:
    mesh, camera = sheet(1, 1, 2), square_camera(16)
    vertices = mesh.vertices + [0, 0, 3]
    with pytest.raises(ValueError, match=r"face_id must have the camera's size \(16, 16\), got \(16, 17\)"):
        raster_from_face_ids(np.zeros((16, 17), int), vertices, mesh.faces, camera)
    with pytest.raises(ValueError, match="names face 8, but there are 8"):
        raster_from_face_ids(np.full((16, 16), 8), vertices, mesh.faces, camera)
    with pytest.raises(ValueError, match="maps must have K's size"):
        decode_motion(np.zeros((16, 16, 6)), np.zeros((16, 17)), camera.K, (16, 16))
