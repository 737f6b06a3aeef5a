"""A pair of bodies rendered by the pipeline, read by the trainer: both say where each pixel goes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.body.model import BodyModel
from pipeline.geometry.camera import Camera
from pipeline.geometry.motion import motion_field
from pipeline.geometry.rings import two_ring
from pipeline.geometry.visibility import PairMaps, pair_maps
from schemas.conventions import IMAGE_PX, JOINT_COUNT, MAP_PX, VALID_ALL
from schemas.motion import decode_motion
from tests.support.sample_rows import intrinsics
from tests.support.sphere_scene import map_intrinsics
from tests.support.surfaces import rendered
from trainer.objective import finer_maps
from trainer.warp import pixel_rays, project, reference_points

HW = (MAP_PX, MAP_PX)
FINE = (IMAGE_PX, IMAGE_PX)


class Pair:
    """The open body, and the same turned by 12 degrees with a bent arm: maps at map size, depth at both."""

    def __init__(self) -> None:
        body = BodyModel.open_body()
        self.camera, self.fine_camera = Camera(map_intrinsics(MAP_PX), HW), Camera(intrinsics(), FINE)
        poses = np.zeros((2, JOINT_COUNT, 3))
        poses[:, 0] = [np.pi, 0, 0]
        poses[:, 16, 2], poses[:, 17, 2] = -1.1, 1.1
        poses[1, 17, 2], poses[1, 18, 1] = 0.9, -0.4
        vertices = [body.vertices(pose, np.zeros(10), np.array([0.0, 0.0, 5.0])) for pose in poses]
        turn = np.radians(12.0)
        around = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
        vertices[1] = (vertices[1] - [0, 0, 5.0]) @ around.T + [0.1, 0.05, 5.0]
        rings = two_ring(body.faces, body.vertex_count)
        limits = {"depth_tolerance_m": 0.03, "min_pixel_baseline_m": 0.05}
        target, reference = (rendered(each, body.faces, self.camera) for each in vertices)
        field = motion_field(target=target, reference=reference, rings=rings)
        self.maps: PairMaps = pair_maps(field, target=target, reference=reference, **limits)
        self.depth = target.raster.depth
        target, reference = (rendered(each, body.faces, self.fine_camera) for each in vertices)
        self.fine_depth = target.raster.depth
        self.fine_px = pair_maps(field, target=target, reference=reference, **limits).warp_px


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair()


def batched(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))[None]


def test_the_warp_is_the_pipelines_on_a_rendered_pair(pair: Pair) -> None:
    """px of R (D + offset) r + t, by the trainer in float32 and by the pipeline's decoder and camera in float64."""
    mask = pair.depth > 0
    assert mask.sum() > 3000
    v, u = np.indices(HW) / 40
    offset = 0.05 * np.sin(u) * np.cos(v)
    K = batched(pair.camera.K)
    points = reference_points(
        batched(offset)[None],
        batched(pair.depth)[None],
        pixel_rays(K, HW),
        batched(pair.maps.motion).permute(0, 3, 1, 2)[None],
    )
    px, in_front = project(points, K[None])
    R, t = decode_motion(pair.maps.motion, pair.depth.astype(np.float32), pair.camera.K, HW)
    row, column = np.indices(HW) + 0.5
    point = pair.camera.cam_from_px(np.stack([column, row], -1), pair.depth.astype(np.float32) + offset)
    expected = pair.camera.px_from_cam(np.einsum("hwij,hwj->hwi", R, point) + t)
    assert in_front[0, 0].numpy()[mask].all()
    np.testing.assert_allclose(px[0, 0].numpy()[mask], expected[mask], atol=1e-4)
    assert np.abs(expected - pair.maps.warp_px)[mask].max() > 0.5  # the offset moves pixels


def test_without_an_offset_pixels_go_where_the_pipeline_sent_them(pair: Pair) -> None:
    """Stored motion is float16: within the .02 px that the storage promises."""
    valid = pair.maps.validity == VALID_ALL
    assert valid.sum() > 2000
    K = batched(pair.camera.K)
    motion = batched(pair.maps.motion).permute(0, 3, 1, 2)[None]
    zero = torch.zeros(1, 1, *HW)
    points = reference_points(zero, batched(pair.depth)[None], pixel_rays(K, HW), motion)
    px, _ = project(points, K[None])
    np.testing.assert_allclose(px[0, 0].numpy()[valid], pair.maps.warp_px[valid], atol=0.02)


def test_upsampled_motion_is_the_motion_rendered_at_that_size(pair: Pair) -> None:
    """Against the pipeline's pixels at 512: a tenth of a pixel at the median, half of one for 95 % of pixels."""
    K = batched(pair.fine_camera.K)
    mask, depth = batched(pair.depth > 0)[None], batched(pair.fine_depth)[None]
    valid = batched(pair.maps.validity == VALID_ALL)[None, None]
    motion = batched(pair.maps.motion).permute(0, 3, 1, 2)[None]
    offset, motion, counted = finer_maps(torch.zeros(1, 1, *HW), motion, valid, mask, depth)
    px, _ = project(reference_points(offset, depth, pixel_rays(K, FINE), motion), K[None])
    seen = counted[0, 0, 0].numpy() > 0
    assert seen.sum() > 8000
    error = np.linalg.norm(px[0, 0].numpy() - pair.fine_px, axis=-1)[seen]
    assert np.median(error) < 0.1, np.median(error)
    assert np.percentile(error, 95) < 0.5, np.percentile(error, 95)
