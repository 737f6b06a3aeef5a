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
from pipeline.refine.matching_kernel import fill_across, fill_layers, match_patches
from pipeline.refine.misalignment import (
    LENGTH_OVER_COMPONENT,
    PATCH_RADIUS_PX,
    SEARCH_PX,
    depth_direction,
    misalignment_px,
)
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


def plain_score(target: np.ndarray, warped: np.ndarray, valid: np.ndarray, at: tuple[int, int]) -> np.ndarray:
    """(7, 7) correlations of the patch at (row, column) with those moved by (down, right), in float64."""
    scores = np.full((2 * SEARCH_PX + 1, 2 * SEARCH_PX + 1), -1.0)

    def patch(picture: np.ndarray, down: int, right: int) -> np.ndarray:
        row, column = at[0] + down - PATCH_RADIUS_PX, at[1] + right - PATCH_RADIUS_PX
        return picture[row : row + 2 * PATCH_RADIUS_PX + 1, column : column + 2 * PATCH_RADIUS_PX + 1]

    for down in range(-SEARCH_PX, SEARCH_PX + 1):
        for right in range(-SEARCH_PX, SEARCH_PX + 1):
            both = patch(valid, 0, 0) & patch(valid, down, right)
            if both.mean() >= 0.8:
                a, b = patch(target, 0, 0)[both], patch(warped, down, right)[both]
                if a.std() > 1e-4 and b.std() > 1e-4:
                    scores[down + SEARCH_PX, right + SEARCH_PX] = np.corrcoef(a, b)[0, 1]
    return scores


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two pictures (60, 70, 3) of which one is the other moved by a pixel and a bit, with noise, and valid pixels."""
    rng = np.random.default_rng(7)
    fine = 0.5 + 0.15 * cv2.GaussianBlur(rng.standard_normal((60, 70, 3)), (0, 0), 2.0) * 2
    move = np.array([[1.0, 0, 1.3], [0, 1, -0.4]])
    moved = cv2.warpAffine(fine, move, (70, 60), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    target = np.round(255 * np.clip(fine, 0, 1)) / 255
    warped = np.clip(moved + 0.01 * rng.standard_normal(moved.shape), 0, 1)
    target[36:, 44:] = 0.25  # flat
    return target.astype(np.float32), warped.astype(np.float32), rng.uniform(size=(60, 70)) < 0.93


def test_patches_match_as_plain_correlations_say(
    pictures: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Scores and whole shifts of every patch; the fraction of a pixel from the peak's neighbours, by a dense fit."""
    target, warped, valid = pictures
    layers = np.empty((3, *valid.shape), np.int16)
    fill_layers(target, warped, valid, layers)
    centre = np.array([[r, c] for r in range(11, 49, 3) for c in range(11, 59, 4)])
    shift, score, curvature = np.empty((len(centre), 2)), np.empty(len(centre)), np.empty((len(centre), 3))
    match_patches(layers, centre, PATCH_RADIUS_PX, SEARCH_PX, shift, score, curvature)
    greys = [picture.astype(np.float64).mean(axis=2) for picture in (target, warped)]
    inner = 0
    for n, at in enumerate(centre):
        scores = plain_score(*greys, valid, tuple(at))
        assert score[n] == pytest.approx(scores.max(), abs=1e-3)
        top, left = np.unravel_index(scores.argmax(), scores.shape)
        if scores.max() < 0 or not (0 < top < 6 and 0 < left < 6):
            continue
        inner += 1
        around = scores[top - 1 : top + 2, left - 1 : left + 2]
        xx, yy = (
            around[1, 0] + around[1, 2] - 2 * around[1, 1],
            around[0, 1] + around[2, 1] - 2 * around[1, 1],
        )
        xy = (around[2, 2] + around[0, 0] - around[0, 2] - around[2, 0]) / 4
        if xx * yy - xy * xy < 1e-12 or around.min() == -1:  # a saddle, or a neighbour that cannot be told
            assert not curvature[n].any()
            continue
        slope = np.array([around[1, 2] - around[1, 0], around[2, 1] - around[0, 1]]) / 2
        peak = -np.linalg.solve([[xx, xy], [xy, yy]], slope)
        np.testing.assert_allclose(shift[n], np.clip(peak, -1, 1) + [left - 3, top - 3], atol=0.005)
        np.testing.assert_allclose(curvature[n], [-xx, -yy, -xy], atol=5e-4)
    assert inner > 60
    assert (score == -1).any(), "the flat corner"


def test_directions_across_are_turned_back_by_the_warp() -> None:
    """Where the warp's derivative is unknown or folds over, they are taken as they are."""
    rng = np.random.default_rng(8)
    v, u = np.mgrid[0:20, 0:20].astype(np.float64)
    turn = np.array([[0.9, 0.3], [-0.2, 1.1]])
    warp = (np.stack([u, v], axis=-1) @ turn.T + 3).astype(np.float32)
    warp[15:] = np.nan
    warp[:, 14:] = warp[:, 14:][:, ::-1].copy()
    centre = np.array([[5, 5], [8, 10], [14, 5], [10, 17]])
    along, across = rng.standard_normal((4, 2)), np.empty((4, 2))
    fill_across(centre, warp, along, across)
    expected = along.copy()
    expected[:2] = np.linalg.solve(turn, along[:2].T).T
    expected = np.stack([-expected[:, 1], expected[:, 0]], axis=1)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(across, expected, atol=1e-6)
