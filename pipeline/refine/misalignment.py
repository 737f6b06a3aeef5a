"""How far two bodies disagree, read off the pictures: patch matching across the direction that depth moves points in.

Not the refinement's own objective: no skeleton, no shared surface, no gradient of a picture.
"""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.rigid import rotation_from_rotvec
from pipeline.geometry.visibility import PairMaps
from pipeline.records import RenderedFrame
from pipeline.refine.matching_kernel import match_patches

PATCH_RADIUS_PX = 7
SEARCH_PX = 3
SPACING_PX = 8
MIN_SCORE = 0.6
"""Correlation below which a patch was not found again."""
MIN_CURVATURE = 0.006
"""Fall of the correlation per squared pixel, across the depth direction, below which a patch does not fix a place."""
MIN_PATCHES = 8
LENGTH_OVER_COMPONENT = 1.7456
"""Median length of an isotropic normal vector in the plane over the median size of one component: 1.1774 / 0.6745."""


def misalignment_px(maps: PairMaps, *, target: RenderedFrame, reference: RenderedFrame) -> float | None:
    """Median distance in map pixels between where the bodies say target pixels lie in the reference and where the
    pictures do; None where fewer than MIN_PATCHES patches can be found again.

    A wrong base depth moves a point along its epipolar line, and that is what the pair is to teach; only the component
    across it is an error of the bodies. With patches' shifts s and the line's normal n

        misalignment = 1.7456 median |n . s|,

    which is the median length of s where the bodies' errors have no preferred direction. A shift beyond the search
    counts as SEARCH_PX.

    Of the target's pixels those count that the reference sees too. Source: our decision.
    """
    target_image, reference_image = target.image, reference.image
    warp_px, motion, depth, valid = maps.warp_px, maps.motion, target.surface.raster.depth, maps.visible
    target_camera, reference_camera = target.surface.camera, reference.surface.camera
    height, width = valid.shape
    source = np.where(valid[..., None], warp_px, 0.0).astype(np.float32) - np.float32(0.5)
    warped = cv2.remap(
        reference_image, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    margin = PATCH_RADIUS_PX + SEARCH_PX + 1
    row, column = np.mgrid[margin : height - margin : SPACING_PX, margin : width - margin : SPACING_PX]
    centre = np.stack([row[valid[row, column]], column[valid[row, column]]], axis=1)
    shift, score, curvature = np.empty((len(centre), 2)), np.empty(len(centre)), np.empty((len(centre), 3))
    grey = [np.ascontiguousarray(image.mean(axis=2), dtype=np.float64) for image in (target_image, warped)]
    match_patches(*grey, valid, centre, PATCH_RADIUS_PX, SEARCH_PX, shift, score, curvature)
    at = (centre[:, 0], centre[:, 1])
    along = depth_direction(centre[:, ::-1] + 0.5, depth[at], motion[at], target_camera, reference_camera)
    # `warped` lives in the target's pixels, so the reference's direction is turned back by the warp's derivative.
    along = np.linalg.solve(_warp_slope(warp_px, centre), along[..., None])[..., 0]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.maximum(
        np.linalg.norm(along, axis=1, keepdims=True), 1e-12
    )
    sharpness = (
        curvature[:, 0] * across[:, 0] ** 2
        + curvature[:, 1] * across[:, 1] ** 2
        + 2 * curvature[:, 2] * across[:, 0] * across[:, 1]
    )
    beyond = (curvature == 0).all(axis=1)
    found = (score >= MIN_SCORE) & ((sharpness >= MIN_CURVATURE) | beyond) & np.isfinite(across).all(axis=1)
    if np.count_nonzero(found) < MIN_PATCHES:
        return None
    size = np.where(beyond, SEARCH_PX, np.abs((shift * across).sum(axis=1)))
    return float(LENGTH_OVER_COMPONENT * np.median(size[found]))


def depth_direction(
    target_px: np.ndarray,
    depth: np.ndarray,
    motion: np.ndarray,
    target_camera: Camera,
    reference_camera: Camera,
) -> np.ndarray:
    """(n, 2) pixels per metre: how the reference's pixel moves when the target pixel's depth grows, the motion held.

    p(z) = pi(R z r + t) with the ray r = K^-1 (u, v, 1): dp/dz = f (a_xy - x_xy / x_z a_z) / x_z with a = R r.
    target_px (n, 2), depth (n,) metres, motion (n, 6) rotation vector and displacement of the surface point.
    """
    motion = np.asarray(motion, np.float64)
    point = target_camera.cam_from_px(target_px, depth)
    ray = target_camera.cam_from_px(target_px, np.ones(len(target_px)))
    turned = np.einsum("nij,nj->ni", rotation_from_rotvec(motion[:, :3]), ray)
    moved = point + motion[:, 3:]
    focal = np.array([reference_camera.K[0, 0], reference_camera.K[1, 1]])
    with np.errstate(divide="ignore", invalid="ignore"):
        return focal * (turned[:, :2] - moved[:, :2] / moved[:, 2:] * turned[:, 2:]) / moved[:, 2:]


def _warp_slope(warp_px: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(n, 2, 2) derivative of the warp by the target's pixel (u, v), over two pixels each way; the identity where
    a neighbour is off the body."""
    row, column = centre[:, 0], centre[:, 1]
    by_u = 0.25 * (warp_px[row, column + 2] - warp_px[row, column - 2]).astype(np.float64)
    by_v = 0.25 * (warp_px[row + 2, column] - warp_px[row - 2, column]).astype(np.float64)
    slope = np.stack([by_u, by_v], axis=2)
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(slope).all(axis=(1, 2)) & (np.linalg.det(slope) > 0.1)
    return np.where(usable[:, None, None], slope, np.eye(2))
