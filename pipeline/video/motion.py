"""What changes between the frames of a film: a few numbers a frame, noted as the frames pass."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.geometry.array_types import Bytes, Singles
from pipeline.records import Frame

PICTURE_PX, NOISE = 96, 3.0
"""Longer side of the grey pictures that are compared, and the grey levels that camera noise and coding reach there."""
_PEAK_SHARE = 0.001


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Changes:
    """The frames of a shot, (T,) each. Comparisons across the shot's ends are 0."""

    pts_s: np.ndarray
    change: np.ndarray
    """Mean of |f_i - f_(i-1)| above NOISE, in grey levels."""
    change_peak: np.ndarray
    """Mean of the largest thousandth of |f_i - f_(i-1)|."""
    bend: np.ndarray
    """The same of |f_(i-1) - 2 f_i + f_(i+1)|: nothing where pixels change in a straight line."""
    bend_peak: np.ndarray


class Motion:
    """Watches frames as they pass; three small pictures are held."""

    def __init__(self) -> None:
        self._pts_s = array("d")
        self._change, self._bend = (array("d"), array("d")), (array("d"), array("d"))

    def watching(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The same frames."""
        before: list[np.ndarray] = []
        for frame in frames:
            before = [*before[-2:], _small_grey(frame.image)]
            self._pts_s.append(frame.pts_s)
            _note(self._change, _mean_and_peak(before[-1] - before[-2]) if len(before) > 1 else (0.0, 0.0))
            if len(before) > 2:
                _note(self._bend, _mean_and_peak(before[-1] - 2 * before[-2] + before[-3]))
            elif len(before) == 1:
                _note(self._bend, (0.0, 0.0))
            yield frame

    def between(self, start_s: float, stop_s: float) -> Changes:
        """The frames in [start_s, stop_s)."""
        pts_s = np.array(self._pts_s)
        first, after = (int(at) for at in np.searchsorted(pts_s, [start_s, stop_s]))
        change, change_peak = (np.array(values[first:after]) for values in self._change)
        # A frame's bend is known with the frame after it.
        bend, bend_peak = (
            np.resize(np.append(values[first:after], 0.0), after - first) for values in self._bend
        )
        for values in (change, change_peak, bend, bend_peak):
            values[:1] = 0.0
        bend[-1:], bend_peak[-1:] = 0.0, 0.0
        return Changes(
            pts_s=pts_s[first:after], change=change, change_peak=change_peak, bend=bend, bend_peak=bend_peak
        )


def _small_grey(image: Bytes) -> Singles:
    grey: Singles = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    shrink = PICTURE_PX / max(grey.shape)
    if shrink >= 1:
        return grey
    size = max(1, round(grey.shape[1] * shrink)), max(1, round(grey.shape[0] * shrink))
    small: Singles = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return small


def _mean_and_peak(difference: np.ndarray) -> tuple[float, float]:
    size = np.abs(difference).ravel()
    count = max(1, round(_PEAK_SHARE * size.size))
    peak = np.partition(size, size.size - count)[size.size - count :].mean()
    return float(np.maximum(size - NOISE, 0.0).mean()), float(peak)


def _note(where: tuple[array[float], array[float]], values: tuple[float, float]) -> None:
    for into, value in zip(where, values):
        into.append(value)
