"""Coded R'G'B' of HDR and wide-gamut film to sRGB: pure functions of arrays (..., 3), channels last.

HDR: light in cd/m2 (ITU-R BT.2100: PQ is SMPTE ST 2084, HLG is shown on a display of 1000 cd/m2), then the EETF of
ITU-R BT.2390 on the largest channel, from a peak of PEAK_NITS to WHITE_NITS, the reference white of ITU-R BT.2408,
which becomes SDR's white; then primaries, then the gamut. Below 88 cd/m2 the EETF changes nothing: linear light stays
in proportion there, and 203 cd/m2 are shown as 229 of 255.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from pipeline.geometry.array_types import Floats

Transfer = Literal["sdr", "pq", "hlg"]
Primaries = Literal["bt709", "bt2020", "p3"]

WHITE_NITS = 203.0
"""HDR reference white (BT.2408), the brightest that the mapped picture shows."""
PEAK_NITS = 1000.0
"""What the curve maps to white: the nominal peak of HLG, and of most film mastered in PQ. Brighter light is white."""

_CHROMATICITIES: dict[Primaries, tuple[tuple[float, float], ...]] = {
    "bt709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    "p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073
HLG_GAMMA = 1.2
"""System gamma of a display of PEAK_NITS."""


def srgb_from_coded(coded: np.ndarray, transfer: Transfer, primaries: Primaries) -> np.ndarray:
    """sRGB values in [0, 1] of coded R'G'B' in [0, 1], (..., 3) each.

    SDR is linearised and coded again by the curve of sRGB, so that its greys stay as they are and only its primaries
    change.
    """
    coded = np.asarray(coded, dtype=np.float64)
    if transfer == "sdr":
        linear = linear_from_srgb(coded)
    else:
        nits = nits_from_pq(coded) if transfer == "pq" else nits_from_hlg(coded, primaries)
        linear = compressed(nits) / WHITE_NITS
    return srgb_from_linear(inside_gamut(linear @ rgb_from_rgb("bt709", primaries).T))


def nits_from_pq(coded: Floats) -> Floats:
    """Light in cd/m2: 10000 (max(E^(1/m2) - c1, 0) / (c2 - c3 E^(1/m2)))^(1/m1), SMPTE ST 2084."""
    root = np.clip(coded, 0.0, 1.0) ** (1 / _M2)
    return 10_000.0 * (np.maximum(root - _C1, 0.0) / (_C2 - _C3 * root)) ** (1 / _M1)


def pq_from_nits(nits: Floats) -> Floats:
    """The inverse of `nits_from_pq`."""
    power = (np.clip(nits, 0.0, 10_000.0) / 10_000.0) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def nits_from_hlg(coded: Floats, primaries: Primaries) -> Floats:
    """Light in cd/m2 on a display of PEAK_NITS: peak Y^(g - 1) E with scene light E, its luminance Y, g = 1.2."""
    scene = scene_from_hlg(coded)
    luminance = scene @ xyz_from_rgb(primaries)[1]
    return np.asarray(PEAK_NITS * luminance[..., None] ** (HLG_GAMMA - 1) * scene)


def scene_from_hlg(coded: Floats) -> Floats:
    """Scene light in [0, 1]: E'^2 / 3 up to a half, then (exp((E' - c) / a) + b) / 12 (BT.2100)."""
    signal = np.clip(coded, 0.0, 1.0)
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _HLG_C) / _HLG_A) + _HLG_B) / 12)


def compressed(nits: Floats) -> Floats:
    """Light (..., 3) scaled so that its largest channel follows the EETF of BT.2390: hue and saturation stay."""
    largest = nits.max(axis=-1, keepdims=True)
    return np.asarray(nits * (eetf_nits(largest) / np.maximum(largest, 1e-9)))


def eetf_nits(nits: np.ndarray) -> np.ndarray:
    """BT.2390's electrical-electrical transfer function, PEAK_NITS to WHITE_NITS, with black at 0.

    With E = PQ(nits) / PQ(peak) and m = PQ(white) / PQ(peak): E below the knee k = 1.5 m - 0.5, above it the Hermite
    spline through (k, k) with slope 1 and (1, m) with slope 0.
    """
    peak, white = pq_from_nits(np.array([PEAK_NITS, WHITE_NITS]))
    top = white / peak
    knee = 1.5 * top - 0.5
    signal = np.minimum(pq_from_nits(nits) / peak, 1.0)
    t = np.maximum(signal - knee, 0.0) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * top
    )
    return nits_from_pq(np.where(signal < knee, signal, spline) * peak)


def inside_gamut(linear: Floats) -> Floats:
    """Linear BT.709 light (..., 3) drawn towards the grey of its luminance, just until it lies in [0, 1]."""
    luminance = np.clip(linear @ xyz_from_rgb("bt709")[1], 0.0, 1.0)[..., None]
    offset = linear - luminance
    room = np.where(offset < 0, luminance, 1 - luminance)
    share = np.min(room / np.maximum(np.abs(offset), 1e-12), axis=-1, keepdims=True)
    return np.asarray(np.clip(luminance + np.minimum(share, 1.0) * offset, 0.0, 1.0))


def rgb_from_rgb(target: Primaries, source: Primaries) -> np.ndarray:
    """(3, 3) linear light between two sets of primaries, both with the white D65."""
    return np.linalg.solve(xyz_from_rgb(target), xyz_from_rgb(source))


def xyz_from_rgb(primaries: Primaries) -> np.ndarray:
    """(3, 3) CIE XYZ of linear light; its middle row gives luminance. White (1, 1, 1) is D65 with Y = 1."""
    columns = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in _CHROMATICITIES[primaries]]).T
    white = np.array([_D65[0] / _D65[1], 1.0, (1 - sum(_D65)) / _D65[1]])
    return columns * np.linalg.solve(columns, white)


def linear_from_srgb(coded: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] (IEC 61966-2-1)."""
    return np.where(coded <= 0.04045, coded / 12.92, ((np.maximum(coded, 0.04045) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: np.ndarray) -> np.ndarray:
    """The inverse of `linear_from_srgb`."""
    return np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    )
