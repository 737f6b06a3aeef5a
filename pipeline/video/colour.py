"""How a picture's colours are coded, and turning it into the sRGB values that a player would show.

Most film is BT.709 or BT.601 video: its R'G'B' are taken as sRGB as they are, as players do. HDR (PQ, HLG) and wide
gamuts (BT.2020, P3) go through `tone_mapping`, after the picture has its final size. What a picture does not say is
taken as players take it: limited range, BT.709 for HD and BT.601 for smaller pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from pipeline.geometry.array_types import Bytes, Indices, Singles
from pipeline.video.tone_mapping import (
    HLG_GAMMA,
    PEAK_NITS,
    WHITE_NITS,
    Primaries,
    Transfer,
    eetf_nits,
    inside_gamut,
    linear_from_srgb,
    nits_from_pq,
    rgb_from_rgb,
    scene_from_hlg,
    srgb_from_linear,
    xyz_from_rgb,
)
from schemas.errors import DecodeError

HD_WIDTH_PX, SD_HEIGHT_PX = 1280, 576
"""Untagged pictures at least so wide or higher than this are BT.709, others BT.601: the rule of common players."""

# Numbers of ITU-T H.273, as libavutil has them.
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,  # constant luminance, which next to nobody uses, by the common formula
}
_FOREIGN = {
    8: "YCgCo",
    11: "SMPTE ST 2085",
    14: "ICtCp",
    15: "IPT-C2 (Dolby Vision profile 5)",
    16: "YCgCo-R",
    17: "YCgCo-R",
}
_TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}
_PRIMARIES: dict[int, Primaries] = {9: "bt2020", 11: "p3", 12: "p3"}
_NAMES = {"pq": "PQ", "hlg": "HLG", "bt2020": "BT.2020", "p3": "P3"}

_CHUNK = 1 << 15
"""Pixels worked on at a time: their floats stay in the processor's cache."""
_BITS = 12
_STEPS = 16383
"""Entries of the tables over light, less one. They are even in the root of light, so that darkness has enough."""


@dataclass(frozen=True, slots=True)
class Coding:
    """How a picture's numbers stand for colours."""

    matrix: Colorspace
    full_range: bool
    grey: bool
    transfer: Transfer
    primaries: Primaries

    @property
    def is_plain(self) -> bool:
        """Whether R'G'B' are what a player shows."""
        return self.transfer == "sdr" and self.primaries == "bt709"

    @property
    def note(self) -> str:
        """What showing it takes, in words; empty for plain video."""
        if self.transfer != "sdr":
            return f"HDR ({_NAMES[self.transfer]}) tone-mapped to BT.709"
        return "" if self.is_plain else f"wide gamut ({_NAMES[self.primaries]}) converted to BT.709"


def coding_of(picture: VideoFrame) -> Coding:
    """The coding that a picture's tags say, with players' defaults for what they leave out.

    Raises DecodeError for matrices that nothing here can turn into RGB.
    """
    kind = picture.format
    return _coding(
        picture.colorspace, picture.color_range, picture.color_trc, picture.color_primaries,
        kind.name, kind.is_rgb or kind.has_palette, picture.width >= HD_WIDTH_PX or picture.height > SD_HEIGHT_PX,
    )  # fmt: skip


@lru_cache(maxsize=64)
def _coding(
    matrix: int, colour_range: int, transfer: int, primaries: int, kind: str, is_rgb: bool, is_hd: bool
) -> Coding:
    if matrix in _FOREIGN and not is_rgb:
        raise DecodeError(
            f"colours are coded as {_FOREIGN[matrix]}, which cannot be turned into RGB here.",
            remedy="Export the film again as ordinary SDR or HDR10 video.",
        )
    shown, light = _PRIMARIES.get(primaries, "bt709"), _TRANSFERS.get(transfer, "sdr")
    if light != "sdr" and primaries not in (1, 9, 11, 12):
        shown = "bt2020"  # untagged: HDR has no other habit
    guess = Colorspace.ITU709 if is_hd else Colorspace.ITU601
    if light != "sdr" or shown == "bt2020":
        guess = Colorspace.BT2020
    grey = kind.startswith(("gray", "ya"))
    return Coding(
        matrix=_MATRICES.get(matrix, guess),
        full_range=colour_range == ColorRange.JPEG
        or kind.startswith("yuvj")
        or (grey and colour_range != ColorRange.MPEG),
        grey=grey,
        transfer=light,
        primaries=shown,
    )


def rgb_from_picture(
    picture: VideoFrame, coding: Coding, width: int, height: int, quality: Interpolation
) -> np.ndarray:
    """(height, width, 3) uint8 sRGB. Raises what the decoder's scaler raises."""
    how: dict[str, Any] = {
        "width": width,
        "height": height,
        "interpolation": quality,
        "src_colorspace": coding.matrix,
        "src_color_range": ColorRange.JPEG if coding.full_range else ColorRange.MPEG,
        "dst_color_range": ColorRange.JPEG,
        "threads": 1,
    }
    if coding.is_plain:
        image = picture.to_ndarray(format="rgb24", **how)
        # swscale takes every grey picture for full range, whatever it is told.
        return _full_from_limited()[image] if coding.grey and not coding.full_range else image
    planes = picture.reformat(format=f"gbrp{_BITS}le", **how)
    red, green, blue = (_plane(planes, at) for at in (2, 0, 1))
    return _mapped((red, green, blue), _tables(coding.transfer, coding.primaries))


def _plane(picture: VideoFrame, at: int) -> np.ndarray:
    plane = picture.planes[at]
    return np.frombuffer(memoryview(plane), "<u2").reshape(plane.height, plane.line_size // 2)[
        :, : plane.width
    ]


@lru_cache(maxsize=1)
def _full_from_limited() -> np.ndarray:
    return np.clip(np.rint((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class _Tables:
    """`tone_mapping.srgb_from_coded` in tables; all float32."""

    light: np.ndarray
    """(2^BITS,) light of a coded value; 1 is SDR's white, but for HLG the brightest scene."""
    scene_weights: np.ndarray
    """(3,) luminance of scene light (HLG), else empty."""
    scene_gain: np.ndarray
    """(STEPS + 1,) display light over scene light, over the root of scene luminance."""
    peak: float
    """The brightest light."""
    gain: np.ndarray
    """(STEPS + 1,) compressed over display light, over the root of the largest channel / peak; empty for SDR."""
    matrix: np.ndarray
    """(3, 3) linear BT.709 from the film's primaries."""


@lru_cache(maxsize=8)
def _tables(transfer: Transfer, primaries: Primaries) -> _Tables:
    coded, power = np.arange(1 << _BITS) / ((1 << _BITS) - 1), (np.arange(_STEPS + 1) / _STEPS) ** 2
    weights, scene_gain, gain, peak = np.zeros(0), np.zeros(0), np.zeros(0), 1.0
    if transfer == "sdr":
        light = linear_from_srgb(coded)
    elif transfer == "pq":
        light, peak = nits_from_pq(coded) / WHITE_NITS, 10_000 / WHITE_NITS
    else:
        light, peak = scene_from_hlg(coded), PEAK_NITS / WHITE_NITS
        weights, scene_gain = xyz_from_rgb(primaries)[1], peak * power ** (HLG_GAMMA - 1)
    if transfer != "sdr":
        nits = np.maximum(power, power[1] / 4) * peak * WHITE_NITS
        gain = eetf_nits(nits) / nits
    return _Tables(
        light=light.astype(np.float32),
        scene_weights=weights.astype(np.float32),
        scene_gain=scene_gain.astype(np.float32),
        peak=peak,
        gain=gain.astype(np.float32),
        matrix=rgb_from_rgb("bt709", primaries).astype(np.float32),
    )


@lru_cache(maxsize=1)
def _srgb_bytes() -> Bytes:
    """(STEPS + 1,) uint8 sRGB over the root of linear light."""
    return np.asarray(np.rint(255 * srgb_from_linear((np.arange(_STEPS + 1) / _STEPS) ** 2)).astype(np.uint8))


def _mapped(planes: tuple[np.ndarray, np.ndarray, np.ndarray], tables: _Tables) -> np.ndarray:
    """(H, W, 3) uint8 sRGB of coded planes red, green, blue (H, W) uint16."""
    height, width = planes[0].shape
    image = np.empty((height, width, 3), dtype=np.uint8)
    rows = max(1, _CHUNK // width)
    for top in range(0, height, rows):
        light = [np.take(tables.light, plane[top : top + rows]) for plane in planes]
        for at, channel in enumerate(_shown_light(light, tables)):
            image[top : top + rows, :, at] = np.take(_srgb_bytes(), _root_index(channel))
    return image


def _shown_light(light: list[np.ndarray], tables: _Tables) -> list[np.ndarray]:
    """Linear BT.709 in [0, 1] of red, green and blue light of the film's primaries, which are changed in place."""
    red, green, blue = light
    if len(tables.scene_weights):
        weights = tables.scene_weights
        luminance = weights[0] * red + weights[1] * green + weights[2] * blue
        _scale(light, np.take(tables.scene_gain, _root_index(luminance)))
    if len(tables.gain):
        largest = np.maximum(np.maximum(red, green), blue)
        _scale(light, np.take(tables.gain, _root_index(largest / np.float32(tables.peak))))
    shown = [row[0] * red + row[1] * green + row[2] * blue for row in tables.matrix]
    lowest = np.minimum(np.minimum(*shown[:2]), shown[2])
    highest = np.maximum(np.maximum(*shown[:2]), shown[2])
    outside = (lowest < 0) | (highest > 1)
    if outside.any():
        drawn = inside_gamut(np.stack([channel[outside] for channel in shown], axis=-1))
        for at, channel in enumerate(shown):
            channel[outside] = drawn[:, at]
    return shown


def _scale(light: list[np.ndarray], gain: np.ndarray) -> None:
    for channel in light:
        channel *= gain


def _root_index(light: Singles) -> Indices:
    """Places in the tables over the root of light in [0, 1]."""
    return (np.sqrt(light) * np.float32(_STEPS) + np.float32(0.5)).astype(np.int32)
