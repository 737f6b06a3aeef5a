"""How far two bodies disagree, read off the pictures: patches looked for far along the line on which depth moves
points, and near it on both sides.

Not the refinement's own objective: no skeleton, no shared surface, no gradient of a picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.visibility import PairMaps
from pipeline.records import Misalignment, RenderedFrame
from pipeline.refine.direction_kernel import fill_depth_directions, turn_back
from pipeline.refine.matching_kernel import (
    BEYOND_ACROSS,
    LONGEST,
    PLACED,
    fill_layers,
    fill_source,
    fill_textures,
    match_patches,
)

PATCH_RADIUS_PX = 7
SPACING_PX = 8
ACROSS_PX = 4.0
"""How far a patch is looked for beside the depth direction, the rim that shows a peak as one included."""
DEPTH_REACH_M = 0.12
"""Change of depth that the search along the direction covers: what an offset may be, and a fifth."""
ALONG_PX = (3.0, 8.0)
"""Least and largest reach of that search, whatever the parallax."""
MIN_SCORE = 0.75
"""Correlation below which a patch was not found again."""
MIN_VALID = 0.6
"""Share of a patch that must lie on the common surface."""
MIN_TEXTURE = 0.012
"""Fall of the target's own correlation per squared pixel across the depth direction, whatever the shift along it,
below which a patch does not fix a place."""
MIN_GRADIENT = 0.012
"""Root mean square gradient across, in white per pixel, likewise: below it noise is all the texture there is."""
MAX_SLOPE = 0.1
"""Pixels across in which a match slides for one along, where nothing fixes it along: less is no error to speak of."""
MIN_PATCHES = 8
LENGTH_OVER_COMPONENT = 1.7456
"""Median length of an isotropic normal vector in the plane over the median size of one component: 1.1774 / 0.6745."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patches:
    """What became of n patches of a target."""

    centre: np.ndarray
    """(n, 2) row and column."""
    tells: np.ndarray
    """(n,) bool: the target's texture fixes a place across the depth direction."""
    tells_along: np.ndarray
    """(n,) bool: and along it."""
    is_found: np.ndarray
    """(n,) bool: tells, and is found again; beside the search's reach counts."""
    across_px: np.ndarray
    """(n,) distance from where the bodies say, across the depth direction; ACROSS_PX where it lies beyond."""
    along_px: np.ndarray
    """(n,) along it; NaN where that is not known."""


def misalignment(maps: PairMaps, *, target: RenderedFrame, reference: RenderedFrame) -> Misalignment:
    """How far apart the bodies and the pictures say that target pixels lie in the reference, in the target's pixels.

    A wrong base depth moves a point along its epipolar line, and that is what the pair is to teach; only what is left
    across it is an error of the bodies. With patches' shifts s, the line's direction a and its normal n

        across = median |n . s|,  along = median |a . s|,  misalignment = 1.7456 across,

    the last being the median length of s where the bodies' errors have no preferred direction. A shift beyond the
    search beside the line counts as ACROSS_PX. Only patches count whose own texture fixes a place: with the structure
    tensor C of the target over its variance, C_nn - C_na^2 / C_aa is the fall of the correlation across when the shift
    along is free, and MIN_TEXTURE its least; a line within MAX_SLOPE of the direction tells by C_nn alone. Of the
    target's pixels those count that the reference sees too.

    Numbers are None where fewer than MIN_PATCHES patches tell. Source: our decision.
    """
    patches = matched_patches(maps, target=target, reference=reference)
    if patches is None:
        return Misalignment()
    telling, found = int(patches.tells.sum()), patches.is_found
    along = patches.along_px[found & np.isfinite(patches.along_px)]
    across = patches.across_px[found]
    across_px = float(np.median(across)) if len(across) >= MIN_PATCHES else None
    return Misalignment(
        textured_fraction=telling / len(patches.tells),
        matched_fraction=float(found.sum()) / telling if telling >= MIN_PATCHES else None,
        across_px=across_px,
        along_px=float(np.median(np.abs(along))) if len(along) >= MIN_PATCHES else None,
        misalignment_px=LENGTH_OVER_COMPONENT * across_px if across_px is not None else None,
    )


def matched_patches(maps: PairMaps, *, target: RenderedFrame, reference: RenderedFrame) -> Patches | None:
    """The patches of the common surface, SPACING_PX apart; None where there are fewer than MIN_PATCHES."""
    valid, warp_px = maps.visible, maps.warp_px
    margin = PATCH_RADIUS_PX + LONGEST + 1
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
    layers = _layers(target.image[box], reference.image, warp_px[box], valid[box])
    texture = np.empty((len(centre), 5))
    fill_textures(layers, centre - [box[0].start, box[1].start], PATCH_RADIUS_PX, texture)
    centre, texture = centre[texture[:, 0] >= MIN_VALID], texture[texture[:, 0] >= MIN_VALID]
    if len(centre) < MIN_PATCHES:
        return None
    along = _directions(centre, maps, target, reference)
    px_per_m = np.maximum(np.linalg.norm(along, axis=1), 1e-12)
    direction = along / px_per_m[:, None]
    tells, tells_along = _telling(texture, direction)
    tells &= np.isfinite(px_per_m)
    looked_for = np.flatnonzero(tells)
    shift, score = np.full((len(centre), 2), np.nan), np.full(len(centre), -1.0)
    outcome = np.full(len(centre), -1)
    if len(looked_for):
        reach = np.clip(DEPTH_REACH_M * px_per_m[looked_for] + 1, *ALONG_PX)
        found = np.empty((len(reach), 2)), np.empty(len(reach)), np.empty(len(reach), np.int64)
        at = centre[looked_for] - [box[0].start, box[1].start]
        match_patches(layers, at, direction[looked_for], reach, ACROSS_PX, PATCH_RADIUS_PX, *found)
        shift[looked_for], score[looked_for], outcome[looked_for] = found
    is_placed, is_beyond = outcome == PLACED, outcome == BEYOND_ACROSS
    across = np.abs(direction[:, 0] * shift[:, 1] - direction[:, 1] * shift[:, 0])
    return Patches(
        centre=centre,
        tells=tells,
        tells_along=tells_along,
        is_found=tells & (score >= MIN_SCORE) & (is_placed | is_beyond),
        across_px=np.where(is_beyond, ACROSS_PX, across),
        along_px=np.where(is_placed & tells_along, (direction * shift).sum(axis=1), np.nan),
    )


def _telling(texture: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


def _directions(
    centre: np.ndarray, maps: PairMaps, target: RenderedFrame, reference: RenderedFrame
) -> np.ndarray:
    """(n, 2) target pixels per metre in which a match moves when the depth of centres (row, column) grows."""
    at = (centre[:, 0], centre[:, 1])
    along = depth_direction(
        centre[:, ::-1] + 0.5,
        target.surface.raster.depth[at],
        maps.motion[at],
        target.surface.camera,
        reference.surface.camera,
    )
    turned = np.empty_like(along)
    turn_back(centre, maps.warp_px, along, turned)
    return turned


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
