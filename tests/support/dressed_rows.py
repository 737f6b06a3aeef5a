"""What rows of samples must hold whose bodies were moved outwards, by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.posed_surface import RenderedSurface
from pipeline.method.rendered_frames import body_from_vector
from pipeline.rendering.base_mesh import outward_normals
from schemas.conventions import IMAGE_PX, MAP_PX, VALID_ALL
from tests.support.fast_units import fast_resources, fast_settings


def dressed_by_hand(vector: np.ndarray, K: np.ndarray, offset_m: np.ndarray) -> RenderedSurface:
    """The skin moved along its normals, drawn at map size."""
    body, rasterizer = fast_resources(fast_settings()).body, fast_resources(fast_settings()).rasterizer
    camera = Camera(K, (IMAGE_PX, IMAGE_PX)).resized((MAP_PX, MAP_PX))
    skin = body_from_vector(vector, camera, body).vertices
    moved = skin + offset_m[:, None] * outward_normals(skin, body.faces)
    return RenderedSurface(
        vertices=moved,
        faces=body.faces,
        camera=camera,
        face_id=rasterizer.face_ids(moved, body.faces, camera),
    )


def check_depth_and_motion(rows: Mapping[str, Iterable[Mapping[str, Any]]], offset_m: np.ndarray) -> None:
    """Base depth is drawn from the moved skin, and a target point moves onto what its reference shows of it."""
    vectors = {row["frame_index"]: row["body_vector"] for row in rows["frames"]}
    for sample in rows["samples"]:
        expected = dressed_by_hand(sample["body_vector"], sample["K"], offset_m)
        np.testing.assert_allclose(sample["base_depth"], expected.depth, atol=1e-9)
        v, u = np.nonzero(sample["base_depth"])
        ray = np.linalg.inv(expected.camera.K) @ np.stack([u + 0.5, v + 0.5, np.ones(len(u))])
        point = sample["base_depth"][v, u] * ray
        for reference in sample["references"]:
            motion = np.asarray(reference["motion"].dense(), np.float64)[v, u].T
            moved = point + motion[3:]  # the surface point itself: R p + t = p + d
            there = dressed_by_hand(vectors[reference["frame_index"]], reference["K"], offset_m)
            px = (there.camera.K @ moved)[:2] / moved[2]
            valid = np.asarray(reference["validity"].dense())[v, u] == VALID_ALL
            column, row = np.floor(px[:, valid]).astype(int)
            drawn = there.depth[row, column]
            assert np.median(np.abs(drawn - moved[2, valid])[drawn > 0]) < 2e-3
