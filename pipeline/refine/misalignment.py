"""How far two bodies disagree, read off the pictures: patch matching across the direction that depth moves points in.

Not the refinement's own objective: no skeleton, no shared surface, no gradient of a picture.
"""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.visibility import PairMaps
from pipeline.records import RenderedFrame
from pipeline.refine.matching_kernel import (
    fill_across,
    fill_depth_directions,
    fill_layers,
    fill_source,
    match_patches,
)

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
    margin = PATCH_RADIUS_PX + SEARCH_PX + 1
    height, width = valid.shape
    row, column = np.mgrid[margin : height - margin : SPACING_PX, margin : width - margin : SPACING_PX]
    is_centre = valid[row, column]
    centre = np.stack([row[is_centre], column[is_centre]], axis=1)
    if len(centre) < MIN_PATCHES:
        return None
    # Patches moved by shifts lie within a margin of the centres, the last column of which only fills registers.
    box = tuple(
        slice(int(low) - margin, int(high) + margin + 1)
        for low, high in zip(centre.min(axis=0), centre.max(axis=0))
    )
    layers = _layers(target_image[box], reference_image, warp_px[box], valid[box])
    shift, score, curvature = np.empty((len(centre), 2)), np.empty(len(centre)), np.empty((len(centre), 3))
    in_box = centre - [box[0].start, box[1].start]
    match_patches(layers, in_box, PATCH_RADIUS_PX, SEARCH_PX, shift, score, curvature)
    at = (centre[:, 0], centre[:, 1])
    along = depth_direction(centre[:, ::-1] + 0.5, depth[at], motion[at], target_camera, reference_camera)
    across = np.empty_like(along)
    fill_across(centre, warp_px, along, across)
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


def _layers(target: np.ndarray, reference: np.ndarray, warp_px: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(3, h, w) what `match_patches` reads, of a part of the target and the reference warped to it."""
    source, layers = np.empty((*valid.shape, 2), np.float32), np.empty((3, *valid.shape), np.int16)
    fill_source(warp_px, valid, source)
    warped = cv2.remap(reference, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    fill_layers(target, warped, valid, layers)
    return layers


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
    along = np.empty((len(target_px), 2))
    fill_depth_directions(
        target_px, depth, np.asarray(motion, np.float64), target_camera.lens, reference_camera.lens, along
    )
    return along
