"""Silhouettes: what the segmentation says, and how well a projected body agrees with it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.geometry.array_types import Flags, Floats
from pipeline.geometry.coverage import fill_covered
from pipeline.records import PERSON_PX, packed_person
from pipeline.tracking.people import Observations
from pipeline.tracking.regions import invert, sample, transform

SILHOUETTE_THRESHOLD = 0.5
"""A cell is the person's where they cover half of it."""
MASK_PX = 256
"""Side of the masks that contours, distances and overlaps are measured in, aligned with the region."""
CONTOUR_POINTS = 100
BORDER_CELLS = 2
"""Contour points this near to the region's or image's border are cuts, not outlines."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Silhouettes:
    """Outlines of one person. T frames, C contour points, S = MASK_PX."""

    mask_bits: np.ndarray
    """(T, S, S / 8) uint8, see `mask`."""
    mask_from_image: np.ndarray
    """(T, 2, 3) affine."""
    px_per_cell: np.ndarray
    """(T,) image pixels per mask cell."""
    contour_px: np.ndarray
    """(T, C, 2) points on the outline, image pixels."""
    contour_weight: np.ndarray
    """(T, C) 1 on an outline, 0 on a cut or where there is no mask."""
    outside_px: np.ndarray
    """(T, S/2, S/2) float32: mean distance of 2x2 cells to the mask in image pixels, 0 inside (what a fit reads at
    random should fit into the processor's cache)."""

    def mask(self, at: int) -> np.ndarray:
        """(S, S) bool, of one frame."""
        return np.unpackbits(self.mask_bits[at], axis=-1).view(bool)

    @property
    def is_seen(self) -> np.ndarray:
        """(T,) bool: frames that have a mask."""
        return np.asarray(self.mask_bits.any(axis=(1, 2)))


def silhouettes_of(seen: Observations, threshold: float, *, distances: bool = True) -> Silhouettes:
    """Masks, outlines and distances of a person's segmentations above a threshold in [0, 1].

    Distances take half of the time and nine tenths of the memory: without them `outside_px` is (T, 0, 0).
    """
    count, size = len(seen), seen.segmentation.shape[1]
    image_from_mask = seen.image_from_segmentation.copy()
    image_from_mask[:, :, :2] *= size / MASK_PX
    mask_bits = np.zeros((count, MASK_PX, MASK_PX // 8), np.uint8)
    side = MASK_PX // 2 if distances else 0
    outside = np.zeros((count, side, side), np.float32)
    contour = np.zeros((count, CONTOUR_POINTS, 2))
    weight = np.zeros((count, CONTOUR_POINTS))
    px_per_cell = np.hypot(image_from_mask[:, 0, 0], image_from_mask[:, 1, 0])
    for t in range(count):
        soft = cv2.resize(seen.segmentation[t], (MASK_PX, MASK_PX), interpolation=cv2.INTER_LINEAR)
        mask = soft > 255 * threshold
        if not mask.any():
            continue
        mask_bits[t] = np.packbits(mask, axis=-1)
        if distances:
            distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
            distance = np.maximum(distance - 0.5, 0.0) * px_per_cell[t]
            outside[t] = cv2.resize(distance, outside.shape[1:], interpolation=cv2.INTER_AREA)
        cells = _outline(mask)
        contour[t] = transform(image_from_mask[t], cells + 0.5)
        weight[t] = _is_outline(cells, contour[t], seen.image_hw, BORDER_CELLS * px_per_cell[t])
    return Silhouettes(
        mask_bits=mask_bits,
        mask_from_image=invert(image_from_mask),
        px_per_cell=px_per_cell,
        contour_px=contour,
        contour_weight=weight,
        outside_px=outside,
    )


def _outline(mask: Flags) -> Floats:
    """(C, 2) cells, evenly spaced along the longest outline of a mask."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    longest: Floats = max(contours, key=len)[:, 0].astype(np.float64)
    return np.asarray(longest[np.linspace(0, len(longest) - 1, CONTOUR_POINTS).astype(int)])


def _is_outline(
    cells: np.ndarray, contour_px: np.ndarray, image_hw: tuple[int, int], margin_px: float
) -> np.ndarray:
    in_region = ((cells >= BORDER_CELLS) & (cells < MASK_PX - BORDER_CELLS)).all(axis=-1)
    far = np.array([image_hw[1], image_hw[0]]) - margin_px
    in_image = ((contour_px > margin_px) & (contour_px < far)).all(axis=-1)
    return np.asarray(in_region & in_image, dtype=np.float64)


def unknown_person() -> bytes:
    """The packed outline of a frame that nothing is known of: it is all person."""
    return packed_person(np.ones((PERSON_PX, PERSON_PX), bool))


def person_cells(silhouettes: Silhouettes, crop_px: np.ndarray) -> tuple[bytes, ...]:
    """(T,) packed outlines for `Track.person`: masks as seen in crops (T, 3) = centre and side in the image.

    A frame without a mask is all person, because nothing is known of it; what lies outside a mask's region is none.
    """
    packed = []
    for t, (u, v, side) in enumerate(crop_px):
        mask = silhouettes.mask(t)
        if not mask.any():
            packed.append(unknown_person())
            continue
        cell_px = side / PERSON_PX
        image_from_crop = np.array([[cell_px, 0, u - side / 2], [0, cell_px, v - side / 2]])
        mask_from_image = silhouettes.mask_from_image[t]
        mask_from_crop = mask_from_image[:, :2] @ image_from_crop
        mask_from_crop[:, 2] += mask_from_image[:, 2]
        person = sample(255 * mask.astype(np.uint8), mask_from_crop, PERSON_PX)
        packed.append(packed_person(person > 127))
    return tuple(packed)


def silhouette_iou(silhouettes: Silhouettes, index: int, vertices_px: np.ndarray, faces: np.ndarray) -> float:
    """Intersection over union of a frame's mask and the projected triangles (V, 2), (F, 3)."""
    cells = transform(silhouettes.mask_from_image[index], vertices_px)
    body, person = covered(cells, faces, MASK_PX), silhouettes.mask(index)
    union = np.count_nonzero(body | person)
    return np.count_nonzero(body & person) / union if union else 0.0


def covered(vertices: np.ndarray, faces: np.ndarray, size: int) -> np.ndarray:
    """(size, size) bool: cells whose centre lies in a triangle of vertices (V, 2), faces (F, 3).

    A closed surface covers the same cells with the triangles of one orientation as with all.
    """
    mask = np.zeros((size, size), bool)
    fill_covered(np.asarray(vertices, np.float64), faces, mask)
    return mask
