"""The measure of misalignment: what it sees, and that it does not see what depth explains."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.geometry.camera import Camera
from pipeline.geometry.posed_surface import RenderedSurface
from pipeline.geometry.rigid import rotation_from_rotvec
from pipeline.geometry.visibility import PairMaps
from pipeline.records import Misalignment, RenderedFrame
from pipeline.refine.compared_pictures import compared_pictures
from pipeline.refine.comparison_kernel import SHOWN, TARGET_STEPS, WARPED_STEPS
from pipeline.refine.direction_kernel import turn_back
from pipeline.refine.matching_kernel import (
    BEYOND_ACROSS,
    BEYOND_ALONG,
    LEAST_SHARED,
    LONGEST,
    PLACED,
    RIDGE,
    UNPLACED,
    fill_textures,
    match_patches,
)
from pipeline.refine.misalignment import (
    LENGTH_OVER_COMPONENT,
    depth_direction,
    matched_patches,
    misalignment,
)
from pipeline.refine.patch_kernel import (
    ACROSS_PX,
    ALONG_PX,
    DEPTH_REACH_M,
    MAX_SLOPE,
    MIN_GRADIENT,
    MIN_TEXTURE,
    MIN_VALID,
    PATCH_RADIUS_PX,
    SPACING_PX,
)
from schemas.conventions import VALID_ALL
from tests.support.pair_maps import maps_of

SIDE = 128
DEPTH_M = 3.0
CAMERA = Camera(np.array([[280.0, 0, SIDE / 2], [0, 280.0, SIDE / 2], [0, 0, 1]]), (SIDE, SIDE))


Pair = tuple[PairMaps, RenderedFrame, RenderedFrame]


def wall(
    moved_px: tuple[float, float], *, texture: float = 1.0, stripes: tuple[float, float] | None = None
) -> Misalignment:
    """How far apart the pictures of `filmed_wall` are found to be."""
    maps, target, reference = filmed_wall(moved_px, texture=texture, stripes=stripes)
    return misalignment(maps, target=target, reference=reference)


def filmed_wall(
    moved_px: tuple[float, float], *, texture: float = 1.0, stripes: tuple[float, float] | None = None
) -> Pair:
    """A wall that moves 10 cm to the right, so that depth moves points along u; bodies are off by `moved_px`.

    `stripes`: the wall shows lines across this direction in place of its texture.
    """
    rng = np.random.default_rng(0)
    fine = texture * cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE, 3)), (0, 0), 1.5)
    v, u = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    if stripes is not None:
        fine = 0.3 * np.sin((stripes[0] * u + stripes[1] * v) / 2)[..., None].repeat(3, axis=2)
    target = np.clip(0.5 + 0.5 * fine, 0, 1).astype(np.float32)
    motion = np.zeros((SIDE, SIDE, 6), np.float16)
    motion[..., 1] = 0.3  # a turn: with a mere translation a change of depth moves no point to speak of
    shift = np.array([9.0, 0.0])
    warp = (np.stack([u, v], axis=-1) + shift).astype(np.float32)
    source = np.stack([u, v], axis=-1) - shift - np.array(moved_px) - 0.5
    reference = cv2.remap(
        target, *source.astype(np.float32).transpose(2, 0, 1), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    reference = np.clip(reference + 0.004 * rng.standard_normal(reference.shape), 0, 1).astype(np.float32)
    valid = np.zeros((SIDE, SIDE), bool)
    valid[10:-10, 10:-24] = True
    validity = np.where(valid, VALID_ALL, 0).astype(np.uint8)
    maps = maps_of(motion, validity, warp)
    surface = RenderedSurface(
        vertices=DEPTH_M * np.array([[-9.0, -9, 1], [9, -9, 1], [0, 9, 1]]),
        faces=np.array([[0, 1, 2]]),
        camera=CAMERA,
        face_id=np.zeros((SIDE, SIDE)),
    )
    pictures = [np.round(255 * image).astype(np.uint8) for image in (target, reference)]
    first, second = (RenderedFrame(surface=surface, picture=picture) for picture in pictures)
    return maps, first, second


def test_bodies_that_agree_have_none() -> None:
    found = wall((0.0, 0.0))
    assert found.textured_fraction is not None
    assert found.matched_fraction is not None
    assert found.misalignment_px is not None
    assert found.along_px is not None
    assert found.textured_fraction > 0.95
    assert found.matched_fraction > 0.95
    assert found.misalignment_px < 0.05
    assert found.along_px < 0.05


@pytest.mark.parametrize("error", [0.4, 1.0, 1.8])
def test_an_error_across_the_depth_direction_is_measured(error: float) -> None:
    found = wall((0.0, error))
    assert found.across_px == pytest.approx(error, rel=0.1)
    assert found.misalignment_px == pytest.approx(LENGTH_OVER_COMPONENT * error, rel=0.1)


@pytest.mark.parametrize("error", [-1.7, 0.5, 1.9])
def test_what_depth_explains_is_told_apart(error: float) -> None:
    found = wall((error, 0.0))
    assert found.misalignment_px is not None
    assert found.misalignment_px < 0.1
    assert found.along_px == pytest.approx(abs(error), rel=0.1)


def test_an_error_beyond_the_search_counts_as_its_reach() -> None:
    found = wall((0.0, 4.4))
    assert found.across_px == ACROSS_PX


def test_flat_pictures_tell_nothing() -> None:
    found = wall((0.0, 1.0), texture=0.0)
    assert found == Misalignment(textured_fraction=0.0)


def test_lines_tell_what_they_can() -> None:
    """Along the depth direction (u): only across. Upright: only along. Oblique: neither, since a shift along u looks
    like one across it."""
    level, upright, oblique = (wall((0.0, 1.0), stripes=way) for way in ((0.0, 1.0), (1.0, 0.0), (0.7, 0.7)))
    assert level.across_px == pytest.approx(1.0, rel=0.1)
    assert level.along_px is None
    for each in (upright, oblique):
        assert each == Misalignment(textured_fraction=0.0)


def test_a_line_that_bodies_move_along_the_depth_direction_is_no_error() -> None:
    """Oblique lines moved along u alone: a measure that looked for the nearest match would call half of it sideways."""
    assert wall((1.5, 0.0), stripes=(0.7, 0.7)).misalignment_px is None


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


def plain_scores(
    target: np.ndarray, warped: np.ndarray, valid: np.ndarray, at: tuple[int, int], window: np.ndarray
) -> np.ndarray:
    """(19, 19) correlations of the patch at (row, column) with those moved by (down, right); NaN outside."""
    scores = np.full(window.shape, np.nan)

    def patch(picture: np.ndarray, down: int, right: int) -> np.ndarray:
        row, column = at[0] + down - PATCH_RADIUS_PX, at[1] + right - PATCH_RADIUS_PX
        return picture[row : row + 2 * PATCH_RADIUS_PX + 1, column : column + 2 * PATCH_RADIUS_PX + 1]

    for i, j in np.argwhere(window):
        down, right = i - LONGEST, j - LONGEST
        both = patch(valid, 0, 0) & patch(valid, down, right)
        scores[i, j] = -1.0
        if both.sum() >= LEAST_SHARED * patch(valid, 0, 0).sum():
            a, b = patch(target, 0, 0)[both], patch(warped, down, right)[both]
            if a.std() > 1e-4 and b.std() > 1e-4:
                scores[i, j] = np.corrcoef(a, b)[0, 1]
    return scores


def layers_of(target: np.ndarray, warped: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(3, H, W) int16 of two pictures in [0, 1]."""
    greys = [
        np.floor(steps * picture.astype(np.float64).mean(axis=2) + 0.5)
        for picture, steps in ((target, TARGET_STEPS), (warped, WARPED_STEPS))
    ]
    greys[1] += SHOWN
    return np.where(valid, [*greys, np.full(valid.shape, -1)], 0).astype(np.int16)


def refined(around: np.ndarray, direction: np.ndarray) -> np.ndarray | None:
    """(right, down) to the peak of the quadratic through (3, 3) scores; to the ridge where there is none."""
    xy = (around[2, 2] + around[0, 0] - around[0, 2] - around[2, 0]) / 4
    bend = np.array(
        [
            [around[1, 0] + around[1, 2] - 2 * around[1, 1], xy],
            [xy, around[0, 1] + around[2, 1] - 2 * around[1, 1]],
        ]
    )
    slope = np.array([around[1, 2] - around[1, 0], around[2, 1] - around[0, 1]]) / 2
    if np.linalg.det(bend) > 1e-12:
        return np.clip(-np.linalg.solve(bend, slope), -1, 1)
    normal = np.array([-direction[1], direction[0]])
    across = normal @ bend @ normal
    return None if across >= -1e-6 else np.clip(-(normal @ slope) / across, -1, 1) * normal


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two pictures (66, 76, 3) of which one is the other moved by a pixel and a bit, with noise, and valid pixels."""
    rng = np.random.default_rng(7)
    fine = 0.5 + 0.15 * cv2.GaussianBlur(rng.standard_normal((66, 76, 3)), (0, 0), 2.0) * 2
    move = np.array([[1.0, 0, 1.3], [0, 1, -0.4]])
    moved = cv2.warpAffine(fine, move, (76, 66), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    target = np.round(255 * np.clip(fine, 0, 1)) / 255
    warped = np.clip(moved + 0.01 * rng.standard_normal(moved.shape), 0, 1)
    target[36:, 44:] = 64 / 255  # flat
    return target.astype(np.float32), warped.astype(np.float32), rng.uniform(size=(66, 76)) < 0.93


def test_patches_match_as_plain_correlations_say(
    pictures: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Scores, whole shifts and outcomes of every patch in windows of all directions; the fraction of a pixel from the
    peak's neighbours, by a dense fit."""
    target, warped, valid = pictures
    layers = layers_of(target, warped, valid)
    margin = PATCH_RADIUS_PX + LONGEST + 1
    centre = np.array([[r, c] for r in range(margin, 66 - margin, 4) for c in range(margin, 76 - margin, 5)])
    rng = np.random.default_rng(2)
    angle = rng.uniform(0, 2 * np.pi, len(centre))
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    reach, across = rng.uniform(1.2, 8, len(centre)), 2.5
    shift, score = np.empty((len(centre), 2)), np.empty(len(centre))
    outcome = np.empty(len(centre), np.int64)
    match_patches(layers, centre, direction, reach, across, PATCH_RADIUS_PX, shift, score, outcome)
    greys = [picture.astype(np.float64).mean(axis=2) for picture in (target, warped)]
    down, right = np.mgrid[-LONGEST : LONGEST + 1, -LONGEST : LONGEST + 1]
    seen = dict.fromkeys((PLACED, BEYOND_ACROSS, BEYOND_ALONG, UNPLACED), 0)
    for n, at in enumerate(centre):
        (x, y), middle = direction[n], LONGEST
        beside = np.abs(x * down - y * right)
        window = (beside <= across) & (np.abs(x * right + y * down) <= reach[n])
        scores = plain_scores(*greys, valid, tuple(at), window)
        assert score[n] == pytest.approx(np.nanmax(scores), abs=1e-3)
        outcomes = np.full(scores.shape, UNPLACED)
        for i, j in np.argwhere(scores > -1):
            around = scores[i - 1 : i + 2, j - 1 : j + 2]
            is_beside = (beside[i - 1 : i + 2, j - 1 : j + 2] > across)[np.isnan(around)].any()
            rim = BEYOND_ACROSS if is_beside else BEYOND_ALONG
            outcomes[i, j] = rim if np.isnan(around).any() else UNPLACED if around.min() == -1 else PLACED
        peak = np.unravel_index(np.nanargmax(scores), scores.shape)
        if outcomes[peak] == BEYOND_ALONG:
            ridge = np.where((outcomes == PLACED) & (scores >= np.nanmax(scores) - RIDGE), scores, -2)
            peak = np.unravel_index(ridge.argmax(), ridge.shape) if ridge.max() > -2 else peak
        top, left = peak
        whole, expected = np.array([left - middle, top - middle]), outcomes[peak]
        if expected == PLACED:
            moved = refined(scores[top - 1 : top + 2, left - 1 : left + 2], direction[n])
            expected = UNPLACED if moved is None else PLACED
            whole = whole + (0 if moved is None else moved)
        seen[expected] += 1
        assert outcome[n] == expected
        if np.nanmax(scores) > -1:
            np.testing.assert_allclose(shift[n], whole, atol=0.01)
    assert min(seen.values()) >= 2, seen
    assert seen[PLACED] > 20


def test_textures_are_those_of_the_valid_pixels(
    pictures: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    target, warped, valid = pictures
    layers = layers_of(target, warped, valid)
    centre = np.array([[12, 13], [20, 30], [40, 50], [50, 60]])
    texture = np.empty((len(centre), 5))
    fill_textures(layers, centre, PATCH_RADIUS_PX, texture)
    grey = target.astype(np.float64).mean(axis=2)
    inner = valid.copy()
    for axis, by in ((0, 1), (0, -1), (1, 1), (1, -1)):
        inner &= np.roll(valid, by, axis)
    y, x = ((np.roll(grey, -1, axis) - np.roll(grey, 1, axis)) / 2 for axis in (0, 1))
    for (row, column), found in zip(centre, texture, strict=True):
        patch = tuple(slice(at - PATCH_RADIUS_PX, at + PATCH_RADIUS_PX + 1) for at in (row, column))
        use = inner[patch]
        expected = [
            valid[patch].mean(),
            grey[patch][valid[patch]].var(),
            *((a * b)[patch][use].mean() for a, b in ((x, x), (y, y), (x, y))),
        ]
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-6)


def test_directions_are_turned_back_by_the_warp() -> None:
    """Where the warp's derivative is unknown or folds over, they are taken as they are."""
    rng = np.random.default_rng(8)
    v, u = np.mgrid[0:20, 0:20].astype(np.float64)
    turn = np.array([[0.9, 0.3], [-0.2, 1.1]])
    warp = (np.stack([u, v], axis=-1) @ turn.T + 3).astype(np.float32)
    warp[15:] = np.nan
    warp[:, 14:] = warp[:, 14:][:, ::-1].copy()
    centre = np.array([[5, 5], [8, 10], [14, 5], [10, 17]])
    along, turned = rng.standard_normal((4, 2)), np.empty((4, 2))
    turn_back(centre, 20, np.arange(400, dtype=np.int32), warp.reshape(-1, 2), along, turned)
    expected = along.copy()
    expected[:2] = np.linalg.solve(turn, along[:2].T).T
    np.testing.assert_allclose(turned, expected, atol=1e-6)


def telling(texture: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which patches fix a place across the direction, (n,) bool, and which along it, by their texture (n, 5)."""
    variance = np.maximum(texture[:, 1], 1e-12)
    tensor = texture[:, [2, 4, 4, 3]].reshape(-1, 2, 2)
    normal = np.stack([-direction[:, 1], direction[:, 0]], axis=1)
    aa, nn, na = (
        np.einsum("ni,nij,nj->n", a, tensor, b)
        for a, b in ((direction, direction), (normal, normal), (direction, normal))
    )
    across, along = nn - na**2 / np.maximum(aa, 1e-12), aa - na**2 / np.maximum(nn, 1e-12)
    across = np.where(np.abs(na) <= MAX_SLOPE * nn, nn, across)
    least = np.maximum(MIN_TEXTURE * variance, MIN_GRADIENT**2)
    return across >= least, along >= least


@pytest.mark.parametrize("stripes", [None, (0.2, 1.0)])
def test_patches_are_those_of_their_twin(stripes: tuple[float, float] | None) -> None:
    """Centres, directions, which of them tell, and what is found, step after step with arrays."""
    maps, target, reference = filmed_wall((0.7, 0.4), stripes=stripes)
    gone = np.random.default_rng(0).random((SIDE, SIDE)) < np.linspace(0, 0.9, SIDE)
    maps.validity[gone] = 0
    camera = target.surface.camera
    pictures = compared_pictures(maps, target=target, reference=reference)
    found = matched_patches(maps, pictures, target=target, reference=reference)
    assert found is not None

    margin = PATCH_RADIUS_PX + LONGEST + 1
    grid = np.mgrid[margin : SIDE - margin : SPACING_PX, margin : SIDE - margin : SPACING_PX]
    centre = grid.reshape(2, -1).T
    centre = centre[maps.visible[centre[:, 0], centre[:, 1]]]
    texture = np.empty((len(centre), 5))
    fill_textures(pictures.layers, centre - pictures.origin, PATCH_RADIUS_PX, texture)
    is_patch = texture[:, 0] >= MIN_VALID
    assert 8 < is_patch.sum() < len(centre)
    centre, texture = centre[is_patch], texture[is_patch]
    np.testing.assert_array_equal(found.centre, centre)

    at = (centre[:, 0], centre[:, 1])
    depth = target.surface.raster.depth[at]
    straight = depth_direction(centre[:, ::-1] + 0.5, depth, maps.motion[at], camera, camera)
    along = np.empty_like(straight)
    turn_back(centre, SIDE, maps.pixel, maps.pixel_warp_px, straight, along)
    px_per_m = np.linalg.norm(along, axis=1)
    direction = along / px_per_m[:, None]
    tells, tells_along = telling(texture, direction)
    np.testing.assert_array_equal(found.tells, np.stack([tells, tells_along], axis=1))
    assert stripes is None or not tells_along.all()

    shift, score, outcome = np.empty((tells.sum(), 2)), np.empty(tells.sum()), np.empty(tells.sum(), int)
    reach = np.clip(DEPTH_REACH_M * px_per_m + 1, *ALONG_PX)
    match_patches(
        pictures.layers, centre[tells] - pictures.origin, direction[tells], reach[tells], ACROSS_PX, PATCH_RADIUS_PX,
        shift, score, outcome,
    )  # fmt: skip
    x, y = direction[tells].T
    across_px = np.where(outcome == BEYOND_ACROSS, ACROSS_PX, np.abs(x * shift[:, 1] - y * shift[:, 0]))
    along_px = np.where(
        (outcome == PLACED) & tells_along[tells], (direction[tells] * shift).sum(axis=1), np.nan
    )
    np.testing.assert_allclose(found.across_px[tells], across_px, rtol=1e-12)
    np.testing.assert_allclose(found.along_px[tells], along_px, rtol=1e-12)
    is_found = (score >= 0.75) & ((outcome == PLACED) | (outcome == BEYOND_ACROSS))
    np.testing.assert_array_equal(found.is_found[tells], is_found)
    assert not found.is_found[~tells].any()
