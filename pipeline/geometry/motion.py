"""How a body moves between two frames: one rotation and translation per vertex, and a pair's numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.estimate_kernel import fill_vertex_weights
from pipeline.geometry.procrustes import fit_motions
from pipeline.geometry.raster import Raster
from pipeline.geometry.rings import Rings, checked_faces, checked_vertices


@dataclass(frozen=True, slots=True, eq=False)
class MotionField:
    """Per-vertex motion `reference_from_target`: x_reference = R x_target + t in camera coordinates."""

    rotation: np.ndarray
    """(V, 3, 3) float64, always in SO(3)."""
    translation: np.ndarray
    """(V, 3) float64 metres, about the camera's origin: |t| is the baseline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairStatistics:
    """The numbers of one target-reference pair, over the target's body pixels (columns of the `pairs` table)."""

    mean_baseline_m: float
    median_baseline_m: float
    p10_baseline_m: float
    p90_baseline_m: float
    rotation_deg: float
    """Mean rotation angle."""
    parallax_px: float
    """Mean distance a body pixel moves, in pixels of the raster the numbers were made at."""
    baseline_over_depth: float
    """Mean |t|/Z with Z the target's depth."""
    visible_fraction: float
    """Share of body pixels that the reference sees too."""
    valid_fraction: float
    """Share of body pixels with every validity bit set."""


def motion_field(target_vertices: np.ndarray, reference_vertices: np.ndarray, rings: Rings) -> MotionField:
    """The rigid motion of every vertex's neighbourhood from the target to the reference frame.

        R_c = argmin over SO(3) of sum over the ring of |R (v_t^i - v_t^c) - (v_r^i - v_r^c)|^2
        t_c = v_r^c - R_c v_t^c

    Vertices (V, 3) metres, each in its own frame's camera coordinates. R is a rotation for every input, never a
    reflection. Where several rotations fit equally well (collinear, coincident or empty rings, mirrored patches of
    equal extents) the smallest of them is returned. Source: method, section 3; solver in `geometry/procrustes.py`.
    """
    target = checked_vertices(target_vertices, "target_vertices", rings.vertex_count)
    reference = checked_vertices(reference_vertices, "reference_vertices", rings.vertex_count)
    field = MotionField(np.empty((len(target), 3, 3)), np.empty((len(target), 3)))
    fit_motions(target, reference, rings.indptr, rings.indices, field.rotation, field.translation)
    return field


def estimate_statistics(
    field: MotionField,
    target_vertices: np.ndarray,
    reference_vertices: np.ndarray,
    faces: np.ndarray,
    target_raster: Raster,
    target_camera: Camera,
    reference_camera: Camera,
    *,
    reference_raster: Raster | None = None,
    depth_tolerance_m: float = 0.03,
    min_pixel_baseline_m: float = 0.05,
) -> PairStatistics:
    """What `visibility.pair_statistics` would say, from vertices alone: cheap enough for every candidate pair.

    A vertex weighs as much as the target's pixels give it, w_v = sum over body pixels of its barycentric weight (the
    head and hands hold half of the vertices but a tenth of the pixels). A vertex counts as visible for that share of
    w_v whose triangle turns the same side to both cameras, if it lies inside the reference image and, where
    `reference_raster` is given, not more than depth_tolerance_m behind the reference's depth there. Without that
    raster, occlusion by other limbs is not seen and the visible and valid fractions are upper bounds.

    Against pixels, on articulated bodies turned 5-40 degrees: means within 0.2 %, median 0.5 %, p10 and p90 2 %,
    fractions 0.005 with the raster; without it they are up to 0.03 too high.
    """
    target = checked_vertices(target_vertices, "target_vertices", len(field.translation))
    reference = checked_vertices(reference_vertices, "reference_vertices", len(target))
    weight, same_side = np.zeros(len(target)), np.zeros(len(target))
    fill_vertex_weights(
        target_raster.face_id, target_raster.barycentric, target, reference,
        checked_faces(faces, len(target)), weight, same_side,
    )  # fmt: skip
    seen = np.flatnonzero(weight > 0)
    if seen.size == 0:
        return PairStatistics(**dict.fromkeys(PairStatistics.__dataclass_fields__, 0.0))
    weight, same_side = weight[seen] / weight.sum(), same_side[seen] / weight.sum()
    rotation, lengths = field.rotation[seen], np.linalg.norm(field.translation[seen], axis=1)
    sine = np.stack([rotation[:, 2, 1] - rotation[:, 1, 2], rotation[:, 0, 2] - rotation[:, 2, 0],
                     rotation[:, 1, 0] - rotation[:, 0, 1]])  # fmt: skip
    angles = np.arctan2(np.linalg.norm(sine, axis=0), np.trace(rotation, axis1=1, axis2=2) - 1)
    moved_px = reference_camera.px_from_cam(reference[seen])
    parallax = np.linalg.norm(moved_px - target_camera.px_from_cam(target[seen]), axis=1)
    lands = _lands_unoccluded(
        moved_px, reference[seen, 2], reference_camera, reference_raster, depth_tolerance_m
    )
    visible = same_side * lands
    p10, median, p90 = _weighted_percentiles(lengths, weight, (0.1, 0.5, 0.9))
    moving = ~np.isnan(parallax)
    return PairStatistics(
        mean_baseline_m=float(weight @ lengths),
        median_baseline_m=median,
        p10_baseline_m=p10,
        p90_baseline_m=p90,
        rotation_deg=float(np.degrees(weight @ angles)),
        parallax_px=float(weight[moving] @ parallax[moving] / max(weight[moving].sum(), 1e-12)),
        baseline_over_depth=float(weight @ (lengths / np.maximum(target[seen, 2], 1e-6))),
        visible_fraction=float(visible.sum()),
        valid_fraction=float(visible[lengths > min_pixel_baseline_m].sum()),
    )


def _lands_unoccluded(
    px: np.ndarray, z: np.ndarray, camera: Camera, raster: Raster | None, tolerance_m: float
) -> np.ndarray:
    """(n,) bool: points inside the image that are not behind the raster's depth (n pixels (n, 2), depths (n,))."""
    height, width = camera.hw
    with np.errstate(invalid="ignore"):
        inside = (px >= 0).all(axis=1) & (px[:, 0] < width) & (px[:, 1] < height)
    if raster is not None:
        column, row = np.floor(px[inside]).astype(np.int64).T
        front = raster.depth[row, column]
        inside[inside] = (front == 0) | (z[inside] <= front + tolerance_m)
    return inside


def _weighted_percentiles(values: np.ndarray, weight: np.ndarray, shares: tuple[float, ...]) -> list[float]:
    """Values below which the given shares of the weight lie, interpolated between midpoints of the weights."""
    order = np.argsort(values)
    midpoint = np.cumsum(weight[order]) - 0.5 * weight[order]
    return np.interp(shares, midpoint / weight.sum(), values[order]).tolist()
