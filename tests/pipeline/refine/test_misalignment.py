"""The measure of misalignment: what it sees, and that it does not see what depth explains."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.geometry.camera import Camera
from pipeline.geometry.motion import PairStatistics
from pipeline.geometry.posed_surface import RenderedSurface
from pipeline.geometry.rigid import rotation_from_rotvec
from pipeline.geometry.visibility import PairMaps
from pipeline.records import RenderedFrame
from pipeline.refine.misalignment import LENGTH_OVER_COMPONENT, depth_direction, misalignment_px
from schemas.conventions import VALID_ALL

SIDE = 128
DEPTH_M = 3.0
NUMBERS = dict.fromkeys(PairStatistics.__dataclass_fields__, 0.0)
CAMERA = Camera(np.array([[280.0, 0, SIDE / 2], [0, 280.0, SIDE / 2], [0, 0, 1]]), (SIDE, SIDE))


def wall(moved_px: tuple[float, float], *, texture: float = 1.0) -> float | None:
    """A wall that moves 10 cm to the right, so that depth moves points along u; bodies are off by `moved_px`."""
    rng = np.random.default_rng(0)
    fine = texture * cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE, 3)), (0, 0), 1.5)
    target = np.clip(0.5 + 0.5 * fine, 0, 1).astype(np.float32)
    motion = np.zeros((SIDE, SIDE, 6), np.float16)
    motion[..., 1] = 0.05  # a turn: with a mere translation a change of depth moves no point to speak of
    v, u = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    shift = np.array([9.0, 0.0])
    warp = (np.stack([u, v], axis=-1) + shift).astype(np.float32)
    source = np.stack([u, v], axis=-1) - shift - np.array(moved_px) - 0.5
    reference = cv2.remap(
        target, *source.astype(np.float32).transpose(2, 0, 1), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    valid = np.zeros((SIDE, SIDE), bool)
    valid[10:-10, 10:-24] = True
    validity = np.where(valid, VALID_ALL, 0).astype(np.uint8)
    maps = PairMaps(motion, validity, np.zeros((SIDE, SIDE), np.float32), warp, PairStatistics(**NUMBERS))
    surface = RenderedSurface(
        vertices=DEPTH_M * np.array([[-9.0, -9, 1], [9, -9, 1], [0, 9, 1]]),
        faces=np.array([[0, 1, 2]]),
        camera=CAMERA,
        face_id=np.zeros((SIDE, SIDE)),
    )
    frames = [RenderedFrame(surface=surface, image=image) for image in (target, reference)]
    return misalignment_px(maps, target=frames[0], reference=frames[1])


def test_bodies_that_agree_have_none() -> None:
    found = wall((0.0, 0.0))
    assert found is not None
    assert found < 0.05


@pytest.mark.parametrize("error", [0.4, 1.0, 2.0])
def test_an_error_across_the_depth_direction_is_measured(error: float) -> None:
    assert wall((0.0, error)) == pytest.approx(LENGTH_OVER_COMPONENT * error, rel=0.1)


def test_what_depth_explains_is_not_an_error() -> None:
    found = wall((1.5, 0.0))
    assert found is not None
    assert found < 0.15


def test_an_error_beyond_the_search_counts_as_its_reach() -> None:
    found = wall((0.0, 3.4))
    assert found is not None
    assert found > 4


def test_flat_pictures_tell_nothing() -> None:
    assert wall((0.0, 1.0), texture=0.0) is None


def test_depth_direction_is_the_derivative_of_the_warp() -> None:
    rng = np.random.default_rng(5)
    px, depth = rng.uniform(20, 100, (30, 2)), rng.uniform(2, 4, 30)
    motion = np.concatenate([rng.normal(0, 0.3, (30, 3)), rng.normal(0, 0.1, (30, 3))], axis=1)
    R = rotation_from_rotvec(motion[:, :3])
    point = CAMERA.cam_from_px(px, depth)
    t = point + motion[:, 3:] - np.einsum("nij,nj->ni", R, point)

    def warped(z: np.ndarray) -> np.ndarray:
        return CAMERA.px_from_cam(np.einsum("nij,nj->ni", R, CAMERA.cam_from_px(px, z)) + t)

    numeric = (warped(depth + 1e-5) - warped(depth - 1e-5)) / 2e-5
    np.testing.assert_allclose(
        depth_direction(px, depth, motion, CAMERA, CAMERA), numeric, rtol=1e-5, atol=1e-4
    )
