"""What a target and a reference are checked for, once, where they are made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.geometry.camera import Camera
from pipeline.geometry.mesh import checked_vertices
from pipeline.geometry.posed_surface import PosedSurface, RenderedSurface, require_same_mesh
from pipeline.geometry.raster import raster_from_face_ids
from tests.support.scenes import sheet, square_camera

MESH, CAMERA = sheet(1, 1, 2), square_camera(16)
HERE = MESH.vertices + [0, 0, 3]


def posed(vertices: object = HERE, faces: object = MESH.faces) -> PosedSurface:
    return PosedSurface(vertices=vertices, faces=faces, camera=CAMERA)  # type: ignore[arg-type]


def test_arrays_are_what_kernels_take() -> None:
    surface = posed(HERE.astype(np.float32)[:, ::-1][:, ::-1].tolist(), MESH.faces.astype(np.int64))
    assert (surface.vertices.dtype, surface.faces.dtype) == (np.float64, np.int32)
    assert surface.vertices.flags.c_contiguous
    assert surface.faces.flags.c_contiguous
    assert surface.vertex_count == 9


def test_arrays_that_need_no_change_are_shared() -> None:
    faces = np.ascontiguousarray(MESH.faces, np.int32)
    assert posed(HERE, faces).faces is faces
    assert posed(HERE, faces).vertices is HERE


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (HERE[:, :2], MESH.faces, r"vertices must have shape \(V, 3\), got \(9, 2\)"),
        (
            np.where(np.arange(9)[:, None] == 4, np.nan, HERE),
            MESH.faces,
            "must be finite; 1 vertices are not",
        ),
        (HERE[:8], MESH.faces, r"faces must index 8 vertices, got \[0, 8\]"),
        (HERE, MESH.faces - 1, r"faces must index 9 vertices, got \[-1, 7\]"),
        (HERE, MESH.faces.reshape(-1, 6), r"faces must have shape \(F, 3\), got \(4, 6\)"),
    ],
)
def test_meshes_that_do_not_fit_are_refused(vertices: object, faces: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        posed(vertices, faces)


def test_pixels_of_another_size_or_mesh_are_refused() -> None:
    mesh = {"vertices": HERE, "faces": MESH.faces}
    seen = np.where(np.eye(16) > 0, 7, -1)
    with pytest.raises(ValueError, match=r"face_id must have the camera's size \(16, 17\), got \(16, 16\)"):
        RenderedSurface(**mesh, camera=Camera(CAMERA.K, (16, 17)), face_id=seen)
    with pytest.raises(ValueError, match="face_id names face 8, but there are 8"):
        RenderedSurface(**mesh, camera=CAMERA, face_id=np.full((16, 16), 8))
    with pytest.raises(ValueError, match="vertices must be finite"):
        RenderedSurface(vertices=np.full((9, 3), np.nan), faces=MESH.faces, camera=CAMERA, face_id=seen)


def test_the_raster_is_made_once_from_the_faces() -> None:
    seen = np.where(np.eye(16) > 0, 7, -1)
    surface = RenderedSurface(vertices=HERE, faces=MESH.faces, camera=CAMERA, face_id=seen)
    expected = raster_from_face_ids(seen, HERE, MESH.faces, CAMERA)
    for name in ("face_id", "barycentric", "depth"):
        np.testing.assert_array_equal(getattr(surface.raster, name), getattr(expected, name))
    assert surface.raster is surface.raster
    assert replace(surface, vertices=HERE + 1).raster is not surface.raster


def test_depth_alone_is_that_of_the_raster_to_the_last_bit() -> None:
    rng = np.random.default_rng(3)
    face_id = rng.integers(-1, len(MESH.faces), CAMERA.hw).astype(np.int32)  # many pixels miss their faces
    surface = RenderedSurface(
        vertices=HERE + rng.normal(size=HERE.shape) * 0.2, faces=MESH.faces, camera=CAMERA, face_id=face_id
    )
    np.testing.assert_array_equal(surface.depth, surface.raster.depth)
    assert (surface.depth > 0).any()


def test_pairs_are_of_one_mesh() -> None:
    require_same_mesh(posed(), posed(HERE + 1, MESH.faces.copy()))
    with pytest.raises(ValueError, match="target has 9 vertices, reference 10; pose one body in both frames"):
        require_same_mesh(posed(), posed(np.concatenate([HERE, HERE[:1]])))
    with pytest.raises(ValueError, match="different faces"):
        require_same_mesh(posed(), posed(HERE, MESH.faces[::-1]))


def test_names_are_in_messages() -> None:
    with pytest.raises(ValueError, match=r"landmarks must have shape \(5, 3\), got \(3, 3\)"):
        checked_vertices(np.zeros((3, 3)), "landmarks", 5)
