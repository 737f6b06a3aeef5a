"""Predictions of crops put back into the picture they were cut from: depth in the picture's own pixels.

A crop's camera has the same centre and axes as the picture's: depth keeps its value, only pixels are numbered anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.prediction import Placement, Prediction
from trainer.depth_files import steepest_step


@dataclass(frozen=True, kw_only=True, eq=False)
class PutBack:
    """One person in the picture's pixels: a window of it."""

    rows: slice
    columns: slice
    depth_m: NDArray[np.float32]
    """(rows, columns) float32 metres, 0 = background."""
    base_depth_m: NDArray[np.float32]


def put_back(prediction: Prediction, placement: Placement) -> PutBack:
    """The depth at the picture's pixel centres, inside the picture.

    A pixel shows the person where the map's cell around its centre does. Its inverse depth, which is linear over a
    plane, is interpolated bilinearly between the four nearest cells, of which count those that show the person and
    whose depth is no jump away from that of the cell around the centre: nothing bleeds in from the background, nor
    from a leg behind into the arm before it.
    """
    side = prediction.depth_m.shape[0]
    crop_from_picture = placement.crop_from_picture(side)
    scale, left, top = crop_from_picture[0, 0], crop_from_picture[0, 2], crop_from_picture[1, 2]
    height, width = placement.picture_hw
    columns = _pixels_inside(-left / scale, side / scale, width)
    rows = _pixels_inside(-top / scale, side / scale, height)
    u = scale * (np.arange(columns.start, columns.stop) + 0.5) + left
    v = scale * (np.arange(rows.start, rows.stop) + 0.5) + top
    cell = np.ix_(_cell(v, side), _cell(u, side))
    shown = prediction.depth_m[cell] > 0
    at_v, at_u = np.nonzero(shown)
    maps = [prediction.depth_m, prediction.base_depth_m]
    inverse = [np.divide(1.0, depth, out=np.zeros(depth.shape), where=depth > 0) for depth in maps]
    centre = prediction.depth_m[_cell(v[at_v], side), _cell(u[at_u], side)].astype(np.float64)
    reach = steepest_step(prediction.K) * centre
    sums, weights = np.zeros((2, len(at_v))), np.zeros(len(at_v))
    low_v, low_u = np.floor(v[at_v] - 0.5).astype(int), np.floor(u[at_u] - 0.5).astype(int)
    share_v, share_u = v[at_v] - 0.5 - low_v, u[at_u] - 0.5 - low_u
    for down in (0, 1):
        for right in (0, 1):
            i, j = np.clip(low_v + down, 0, side - 1), np.clip(low_u + right, 0, side - 1)
            depth = prediction.depth_m[i, j]
            counts = (depth > 0) & (np.abs(depth - centre) <= reach)
            weight = counts * np.abs(1 - down - share_v) * np.abs(1 - right - share_u)
            weights += weight
            for total, values in zip(sums, inverse, strict=True):
                total += weight * values[i, j]
    put = []
    for total in sums:
        full = np.zeros(shown.shape, np.float32)
        full[at_v, at_u] = weights / np.maximum(total, 1e-12)
        put.append(full)
    return PutBack(rows=rows, columns=columns, depth_m=put[0], base_depth_m=put[1])


def whole_picture(predictions: Sequence[Prediction]) -> Prediction:
    """Everybody in one picture, where several are the nearest in front.

    All predictions are of one picture. Where its focal length is not known each person's lens is assumed from their
    own size: `person_K` holds each one's, `K` is the first one's, and which of two people is in front is as good as
    those lenses are.
    """
    placements = [each.placement for each in predictions]
    first = placements[0]
    if first is None or any(each is None or each.picture_hw != first.picture_hw for each in placements):
        raise ValueError("predictions of one picture with their placements are needed")
    depth = np.zeros(first.picture_hw, np.float32)
    base, person = np.zeros_like(depth), np.zeros(first.picture_hw, np.uint8)
    for number, (prediction, placement) in enumerate(zip(predictions, placements, strict=True), start=1):
        assert placement is not None
        put = put_back(prediction, placement)
        window = (put.rows, put.columns)
        is_nearer = (put.depth_m > 0) & ((depth[window] == 0) | (put.depth_m < depth[window]))
        depth[window][is_nearer] = put.depth_m[is_nearer]
        base[window][is_nearer] = put.base_depth_m[is_nearer]
        person[window][is_nearer] = min(number, 255)
    lenses = np.stack(
        [
            placement.picture_K(each.K, each.depth_m.shape[0])
            for each, placement in zip(predictions, placements, strict=True)
            if placement is not None
        ]
    )
    return Prediction(depth_m=depth, base_depth_m=base, K=lenses[0], person=person, person_K=lenses)


def pasted(images: Sequence[NDArray[np.float32]], placements: Sequence[Placement]) -> NDArray[np.float32]:
    """(H, W, 3) float32: crops (side, side, 3) laid into a black picture, for where the picture is not at hand."""
    height, width = placements[0].picture_hw
    picture = np.zeros((height, width, 3), np.float32)
    for image, placement in zip(images, placements, strict=True):
        move = placement.crop_from_picture(image.shape[0])[:2]
        move[:, 2] += 0.5 * move[0, 0] - 0.5  # cv2 numbers pixel centres 0, 1, ...
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cv2.warpAffine(image, move, (width, height), picture, flags=flags, borderMode=cv2.BORDER_TRANSPARENT)
    return picture


def _pixels_inside(start: float, length: float, size: int) -> slice:
    """The pixels of a picture whose centres lie in [start, start + length)."""
    first = int(np.clip(np.ceil(start - 0.5), 0, size))
    return slice(first, int(np.clip(np.ceil(start + length - 0.5), first, size)))


def _cell(coordinate: NDArray[np.floating], side: int) -> NDArray[np.int64]:
    cells: NDArray[np.int64] = np.clip(np.floor(coordinate).astype(np.int64), 0, side - 1)
    return cells
