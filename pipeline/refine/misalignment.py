"""How far two bodies disagree, read off the pictures: patches looked for far along the line on which depth moves
points, and near it on both sides.

Not the refinement's own objective: no skeleton, no shared surface, no gradient of a picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.visibility import PairMaps
from pipeline.records import Misalignment, RenderedFrame
from pipeline.refine.compared_pictures import ComparedPictures, compared_pictures
from pipeline.refine.direction_kernel import fill_depth_directions
from pipeline.refine.patch_kernel import MIN_PATCHES, fill_patches, most_patches, summary

LENGTH_OVER_COMPONENT = 1.7456
"""Median length of an isotropic normal vector in the plane over the median size of one component: 1.1774 / 0.6745."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patches:
    """What became of n patches of a target."""

    centre: np.ndarray
    """(n, 2) row and column."""
    tells: np.ndarray
    """(n, 2) bool: the target's texture fixes a place across the depth direction, and along it."""
    is_found: np.ndarray
    """(n,) bool: tells, and is found again; beside the search's reach counts."""
    across_px: np.ndarray
    """(n,) distance from where the bodies say, across the depth direction; ACROSS_PX where it lies beyond."""
    along_px: np.ndarray
    """(n,) along it; NaN where that is not known."""


def misalignment(
    maps: PairMaps,
    *,
    target: RenderedFrame,
    reference: RenderedFrame,
    pictures: ComparedPictures | None = None,
) -> Misalignment:
    """How far apart the bodies and the pictures say that target pixels lie in the reference, in the target's pixels.

    A wrong base depth moves a point along its epipolar line, and that is what the pair is to teach; only what is left
    across it is an error of the bodies. With patches' shifts s, the line's direction a and its normal n

        across = median |n . s|,  along = median |a . s|,  misalignment = 1.7456 across,

    the last being the median length of s where the bodies' errors have no preferred direction. A shift beyond the
    search beside the line counts as ACROSS_PX. Only patches count whose own texture fixes a place: with the structure
    tensor C of the target over its variance, C_nn - C_na^2 / C_aa is the fall of the correlation across when the shift
    along is free, and MIN_TEXTURE its least; a line within MAX_SLOPE of the direction tells by C_nn alone. Of the
    target's pixels those count that the reference sees too.

    `pictures` are those of `compared_pictures`, where they are made already. Numbers are None where fewer than
    MIN_PATCHES patches tell. Source: our decision.
    """
    if pictures is None:
        pictures = compared_pictures(maps, target=target, reference=reference)
    patches = matched_patches(maps, pictures, target=target, reference=reference)
    if patches is None:
        return Misalignment()
    telling, found, across_px, along_px = summary(
        patches.tells, patches.is_found, patches.across_px, patches.along_px
    )
    return Misalignment(
        textured_fraction=telling / len(patches.tells),
        matched_fraction=found / telling if telling >= MIN_PATCHES else None,
        across_px=_known(across_px),
        along_px=_known(along_px),
        misalignment_px=_known(LENGTH_OVER_COMPONENT * across_px),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def matched_patches(
    maps: PairMaps, pictures: ComparedPictures, *, target: RenderedFrame, reference: RenderedFrame
) -> Patches | None:
    """The patches of the common surface, SPACING_PX apart; None where there are fewer than MIN_PATCHES."""
    most = most_patches(*maps.validity.shape)
    centre, tells, is_found = (
        np.empty((most, 2), np.int64),
        np.empty((most, 2), np.bool_),
        np.empty(most, np.bool_),
    )
    across, along = np.empty((2, most))
    count = fill_patches(
        pictures.layers, pictures.origin, maps.pixel, maps.pixel_motion.view(np.uint16), maps.pixel_warp_px,
        target.surface.raster.depth, np.array([target.surface.camera.lens, reference.surface.camera.lens]),
        centre, tells, is_found, across, along,
    )  # fmt: skip
    if not count:
        return None
    return Patches(
        centre=centre[:count],
        tells=tells[:count],
        is_found=is_found[:count],
        across_px=across[:count],
        along_px=along[:count],
    )


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
