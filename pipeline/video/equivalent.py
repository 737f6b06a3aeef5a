"""From what cameras write about their lens to pixels of focal length."""

from __future__ import annotations

import math
from dataclasses import dataclass

FULL_FRAME_DIAGONAL_MM = math.hypot(36.0, 24.0)
SHORTEST, LONGEST = 0.15, 40.0
"""Focal lengths in diagonals of the picture that cameras have: 6.5 to 1,730 mm as 35 mm equivalents."""
SENSOR_SHAPES = (4 / 3, 3 / 2)
"""Sensors of phones and of cameras: width over height."""
SHAPE_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedLens:
    """What a file says of its lens."""

    focal_px: float | None = None
    """Focal length in pixels of the upright picture; None where nothing usable is said."""
    note: str = ""
    """What there is to know besides, for `clips.notes`."""


NO_LENS = StatedLens()


def lens_of_equivalent(equivalent_mm: float, hw: tuple[int, int]) -> StatedLens:
    """The lens of a picture of size hw whose 35 mm equivalent focal length is stated.

        f = f_35 / 43.27 mm x d

    An equivalent compares diagonal angles of view (CIPA DCG-001) of the whole sensor, so d is the diagonal in pixels
    of the sensor's area: of the picture itself from 4:3 to 3:2; a wider picture keeps the width of a 4:3 sensor, a
    narrower one its height. What that leaves: rounding to 1 mm (2 % at 26 mm), a 16:9 film of a 3:2 sensor (4 % too
    short a lens if its camera means the sensor), the margin that electronic stabilisation cuts off (up to 10 %, and
    the lens is longer than stated).
    """
    long, short = max(hw), min(hw)
    narrow, wide = SENSOR_SHAPES
    if long / short > wide * (1 + SHAPE_TOLERANCE):
        diagonal = math.hypot(long, long / narrow)
    elif long / short < narrow * (1 - SHAPE_TOLERANCE):
        diagonal = math.hypot(short * narrow, short)
    else:
        diagonal = math.hypot(long, short)
    return plausible(equivalent_mm / FULL_FRAME_DIAGONAL_MM * diagonal, hw, f"{equivalent_mm:g} mm")


def lens_of_diagonal_angle(angle_deg: float, hw: tuple[int, int], *, is_straight: bool) -> StatedLens:
    """The lens whose picture spans an angle from corner to corner.

    A lens that keeps lines straight has f = d / (2 tan(a / 2)); a fisheye has, at its centre, about f = d / a (equal
    angles at equal distances), and people near the border are bent.
    """
    stated = f"{angle_deg:g} degrees across the diagonal"
    half_rad = math.radians(angle_deg) / 2 if math.isfinite(angle_deg) else 0.0
    if not 0 < half_rad < (math.pi / 2 if is_straight else math.pi):
        return StatedLens(note=f"states a lens that cannot be: {stated}")
    focal_px = math.hypot(*hw) / 2 / (math.tan(half_rad) if is_straight else half_rad)
    found = plausible(focal_px, hw, stated)
    if found.focal_px is None or is_straight:
        return found
    return StatedLens(focal_px=found.focal_px, note="a fisheye lens, taken for its centre")


def plausible(focal_px: float, hw: tuple[int, int], stated: str) -> StatedLens:
    """The lens, or a note where no camera has such a one. `stated` is how the file puts it."""
    if math.isfinite(focal_px) and SHORTEST <= focal_px / math.hypot(*hw) <= LONGEST:
        return StatedLens(focal_px=focal_px)
    return StatedLens(note=f"states a lens that cannot be: {stated}")
