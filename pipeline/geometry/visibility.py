"""Which target pixels count for a reference and why not, the numbers of a pair, and all its maps in one call."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Floats
from pipeline.geometry.motion import MotionField, PairStatistics
from pipeline.geometry.pair_kernel import fill_pair_maps
from pipeline.geometry.percentiles import percentiles
from pipeline.geometry.posed_surface import PosedSurface, RenderedSurface, require_same_mesh
from pipeline.geometry.rigid import rotation_angle
from pipeline.geometry.surface import SurfaceMotion
from schemas.conventions import (
    VALID_ALL,
    VALID_BASELINE,
    VALID_IN_FRONT,
    VALID_INSIDE,
    VALID_ON_BODY,
    VALID_VISIBLE,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairMaps:
    """Everything per pixel of one target-reference pair, at the target's raster size."""

    pixel: NDArray[np.int32]
    """(n,) row * W + column of the target's body pixels, increasing."""
    pixel_motion: NDArray[np.float16]
    """(6, n) rotation vector, displacement of their surface points; see `schemas.motion.decode_motion`."""
    pixel_baseline_m: NDArray[np.float64]
    """(n,) |t| of each."""
    validity: NDArray[np.uint8]
    """(H, W) uint8 bits of `schemas.conventions.VALID_*`; 0 outside the body."""
    pixel_warp_px: NDArray[np.float32]
    """(n, 2) pixel (u, v) of the reference where the surface point of each lies; NaN for points behind its camera."""
    statistics: PairStatistics

    @property
    def motion(self) -> NDArray[np.float16]:
        """(H, W, 6) float16, zero outside the body: `pixel_motion` as a map."""
        motion = np.zeros((self.validity.size, 6), np.float16)
        motion[self.pixel] = self.pixel_motion.T
        return motion.reshape(*self.validity.shape, 6)

    @property
    def warp_px(self) -> NDArray[np.float32]:
        """(H, W, 2) float32, NaN outside the body: `pixel_warp_px` as a map."""
        warp = np.full((self.validity.size, 2), np.nan, np.float32)
        warp[self.pixel] = self.pixel_warp_px
        return warp.reshape(*self.validity.shape, 2)

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(H, W) body pixels that the reference sees too."""
        return np.asarray((self.validity & VALID_VISIBLE) != 0)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(H, W) body pixels with every bit set: those the photometric loss counts."""
        return np.asarray(self.validity == VALID_ALL)


def pair_maps(
    field: MotionField,
    *,
    target: RenderedSurface,
    reference: RenderedSurface,
    depth_tolerance_m: float,
    min_pixel_baseline_m: float,
) -> PairMaps:
    """All maps and numbers of a pair in one compiled pass.

    The same as `surface_motion`, `stored_motion`, `validity` and `pair_statistics` one after the other (those say what
    is computed), about ten times faster. Raises ValueError where the surfaces and the field are not of one mesh.
    """
    require_same_mesh(target, reference)
    if field.rotation.shape != (target.vertex_count, 3, 3):
        raise ValueError(f"field must have {target.vertex_count} vertices, got {field.rotation.shape}")
    height, width = target.face_id.shape
    body = target.pixels
    motion, baseline = np.empty((6, len(body.pixel)), np.uint16), np.empty(len(body.pixel))
    means = np.empty(4)
    bits, warp = np.zeros((height, width), np.uint8), np.empty((len(body.pixel), 2), np.float32)
    thresholds = np.array([depth_tolerance_m, min_pixel_baseline_m], np.float64)
    seen, valid = fill_pair_maps(
        body.pixel, body.slot, body.weight, body.point, body.centre, body.face, body.corners, body.side,
        body.vertex, np.ascontiguousarray(field.rotation), reference.vertices, reference.faces,
        reference.face_id, reference.camera.lens, thresholds, motion, bits.reshape(-1), warp,
        baseline, means,
    )  # fmt: skip
    return PairMaps(
        pixel=body.pixel,
        pixel_motion=motion.view(np.float16),
        pixel_baseline_m=baseline,
        validity=bits,
        pixel_warp_px=warp,
        statistics=_statistics(baseline, means, seen, valid),
    )


def validity(
    motion: SurfaceMotion,
    *,
    target: RenderedSurface,
    reference: RenderedSurface,
    depth_tolerance_m: float,
    min_pixel_baseline_m: float,
) -> NDArray[np.uint8]:
    """Per pixel the bits that say what holds: (H, W) uint8 of `schemas.conventions.VALID_*`, 0 outside the body.

    On body. In front: the moved point has z > 0 in the reference camera. Inside: it projects into the reference image.
    Baseline: |t| > min_pixel_baseline_m.

    Visible, which presupposes inside: nothing of the reference body lies more than depth_tolerance_m in front.
    (1) The reference camera must see the side of the triangle that the target camera sees; this is exact, and it is
    what keeps the backs of hands and thin limbs out, which any usable tolerance would let in (2.2 % of body pixels).
    (2) The reference pixel the point falls into must show the same triangle, or the background, or a triangle whose
    plane, continued to the very point and kept within its corners' depths, is not in front. Comparing with that
    plane rather than with a resampled depth is what makes grazing surfaces pass.
    """
    require_same_mesh(target, reference)
    face = target.face_id[target.face_id >= 0]
    height, width = reference.face_id.shape
    z = motion.moved[:, 2]
    px = reference.camera.px_from_cam(motion.moved)
    in_front = z > 0
    with np.errstate(invalid="ignore"):
        inside = in_front & (px >= 0).all(axis=1) & (px[:, 0] < width) & (px[:, 1] < height)
    own = target.faces[face]
    visible = inside & (_side(target.vertices[own]) * _side(reference.vertices[own]) > 0)
    tested = np.flatnonzero(visible)
    column, row = np.floor(px[tested]).astype(np.int64).T
    front = reference.face_id[row, column]
    surface = _plane_depth(reference.vertices[reference.faces[front]], motion.moved[tested])
    visible[tested] = (front == face[tested]) | (front < 0) | (z[tested] <= surface + depth_tolerance_m)
    bits = np.full(z.shape, VALID_ON_BODY, np.uint8)
    bits |= np.where(in_front, VALID_IN_FRONT, 0).astype(np.uint8)
    bits |= np.where(inside, VALID_INSIDE, 0).astype(np.uint8)
    bits |= np.where(visible, VALID_VISIBLE, 0).astype(np.uint8)
    bits |= np.where(motion.baseline_m > min_pixel_baseline_m, VALID_BASELINE, 0).astype(np.uint8)
    dense = np.zeros(motion.hw[0] * motion.hw[1], np.uint8)
    dense[motion.pixel] = bits
    return dense.reshape(motion.hw)


def pair_statistics(
    motion: SurfaceMotion, bits: NDArray[np.uint8], *, reference: PosedSurface
) -> PairStatistics:
    """The numbers of a pair over the target's body pixels, all pixels weighing the same.

    `bits` is the (H, W) map of `validity`. Baselines, angles and |t|/Z count every body pixel, valid or not; the
    parallax those in front of the reference camera. A target without a body pixel gives zeros.
    """
    if not len(motion.pixel):
        return _statistics(np.empty(0), np.zeros(4), 0, 0)
    row, column = np.divmod(motion.pixel, motion.hw[1])
    moved_px = reference.camera.px_from_cam(motion.moved)
    parallax = np.hypot(moved_px[:, 0] - (column + 0.5), moved_px[:, 1] - (row + 0.5))
    moving = parallax[~np.isnan(parallax)]
    lengths = motion.baseline_m
    means = [
        lengths.mean(),
        rotation_angle(motion.rotation).mean(),
        (lengths / motion.point[:, 2]).mean(),
        moving.mean() if moving.size else 0.0,
    ]
    seen, valid = np.count_nonzero(bits & VALID_VISIBLE), np.count_nonzero(bits == VALID_ALL)
    return _statistics(lengths, np.array(means), int(seen), int(valid))


def _statistics(lengths: Floats, means: Floats, seen: int, valid: int) -> PairStatistics:
    """Of body pixels with |t| of these lengths (n,), of which so many are seen by the reference, and valid; means of
    |t|, angle, |t|/Z and parallax."""
    if lengths.size == 0:
        return PairStatistics(
            mean_baseline_m=0.0, median_baseline_m=0.0, p10_baseline_m=0.0, p90_baseline_m=0.0, rotation_deg=0.0,
            parallax_px=0.0, baseline_over_depth=0.0, visible_fraction=0.0, valid_fraction=0.0,
        )  # fmt: skip
    p10, median, p90 = percentiles(lengths, (10, 50, 90))
    baseline, angle, over_depth, parallax = means.tolist()
    return PairStatistics(
        mean_baseline_m=baseline,
        median_baseline_m=median,
        p10_baseline_m=p10,
        p90_baseline_m=p90,
        rotation_deg=math.degrees(angle),
        parallax_px=parallax,
        baseline_over_depth=over_depth,
        visible_fraction=seen / len(lengths),
        valid_fraction=valid / len(lengths),
    )


def _side(corners: Floats) -> Floats:
    """(n,) numbers whose sign says which side of the triangles (n, 3, 3) the camera sees."""
    a, b, c = np.moveaxis(corners, 1, 0)
    side: Floats = (a * np.cross(b - a, c - a)).sum(axis=1)
    return side


def _plane_depth(corners: Floats, point: Floats) -> Floats:
    """(n,) depths where the rays through points (n, 3) meet the planes of triangles (n, 3, 3), kept within corners."""
    a, b, c = np.moveaxis(corners, 1, 0)
    normal = np.cross(b - a, c - a)
    along = (point / point[:, 2:] * normal).sum(axis=1)
    nearest, farthest = corners[..., 2].min(axis=1), corners[..., 2].max(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = (a * normal).sum(axis=1) / along
    kept: Floats = np.where(along == 0, nearest, np.clip(depth, nearest, farthest))
    return kept
