"""Colours of a known chart, coded here by the standards' own formulas, against what the decoder shows."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.video import colour as colour_module
from pipeline.video.colour import coding_of
from pipeline.video.decode import decode, probe
from pipeline.video.tone_mapping import Primaries, Transfer, srgb_from_coded
from schemas.errors import DecodeError
from tests.support.clips import even_times, flat_colour, write_clip

BLOCK = 16
LONE_FRAME = "log-level=none:pools=none:frame-threads=1:bframes=0"
"""Without B-frames: with them x265 leaves a lone frame's decode time uninitialised, and the muxer may refuse it."""

CHART = np.array(
    [
        (200, 60, 30), (30, 180, 60), (40, 60, 210), (220, 210, 40), (30, 30, 30), (128, 128, 128), (235, 235, 235),
        (224, 172, 140), (90, 60, 45), (0, 0, 0), (255, 255, 255), (120, 200, 220),
    ]
)  # fmt: skip
"""sRGB: primaries short of the gamut's edge, greys, skin."""

WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
"""K_r and K_b of BT.709, BT.601 (both), SMPTE 240M and BT.2020, by their number in ITU-T H.273."""
WIDE_FROM_BT709 = {
    9: [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]],  # ITU-R BT.2087
    12: [[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]],
}
"""Linear light of BT.2020 and of P3 (D65)."""


def planes_of(rgb: np.ndarray, matrix: int, *, full: bool, bits: int) -> list[np.ndarray]:
    """Y'CbCr (or R'G'B' for matrix 0) of R'G'B' in [0, 1], each rounded to so many bits."""
    red, green, blue = np.moveaxis(np.asarray(rgb, float), -1, 0)
    top, step = 2**bits - 1, 2 ** (bits - 8)
    if matrix == 0:
        return [np.rint(channel * top) for channel in (red, green, blue)]
    kr, kb = WEIGHTS[matrix]
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    if full:
        return [np.rint(luma * top), *(np.rint(value * top + 2 ** (bits - 1)) for value in chroma)]
    return [np.rint(step * (16 + 219 * luma)), *(np.rint(step * (128 + 224 * value)) for value in chroma)]


def write_chart(
    path: Path,
    planes: list[np.ndarray],
    pix_fmt: str,
    *,
    hw: tuple[int, int] | None = None,
    codec: str = "ffv1",
    options: dict[str, str] | None = None,
    **tags: int,
) -> Path:
    """One frame of blocks in a row, or of the first colour alone where `hw` says how large."""
    frame = av.VideoFrame(*(hw[::-1] if hw else (BLOCK * len(planes[0]), BLOCK)), pix_fmt)
    order = (1, 2, 0) if pix_fmt.startswith("gbr") else (0, 1, 2)  # planes are green, blue, red there
    for plane, at in zip(frame.planes, order):
        size = 1 if frame.format.components[0].bits <= 8 else 2
        row = np.repeat(planes[at], BLOCK * plane.width // frame.width) if hw is None else planes[at][:1]
        lines = np.zeros((plane.height, plane.line_size // size), f"<u{size}")
        lines[:, : plane.width] = row
        plane.update(lines.tobytes())
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options=options or {})
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, pix_fmt
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
            setattr(frame, name, value)
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def shown(path: Path) -> np.ndarray:
    """(N, 3) the middle of every block."""
    image = next(decode(path)).image.astype(int)
    return image[BLOCK // 2, BLOCK // 2 :: BLOCK]


def srgb(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def linear(chart: np.ndarray) -> np.ndarray:
    value = chart / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def pq(nits: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084, with its published constants."""
    power = (np.asarray(nits) / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(nits: np.ndarray) -> np.ndarray:
    """ITU-R BT.2100: the inverse OOTF of a display of 1000 cd/m2, then the OETF. (..., 3) of BT.2020 light."""
    luminance = np.asarray(nits) @ [0.2627, 0.6780, 0.0593]
    scene = nits / 1000 * (np.maximum(luminance, 1e-9) / 1000)[..., None] ** (-0.2 / 1.2)
    log = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), log)


def compressed(nits: float) -> float:
    """BT.2390-11, 5.4.1, from 1000 to 203 cd/m2, one value at a time."""
    top = float(pq(203.0) / pq(1000.0))
    knee, signal = 1.5 * top - 0.5, min(float(pq(nits) / pq(1000.0)), 1.0)
    if signal >= knee:
        t = (signal - knee) / (1 - knee)
        signal = (
            (2 * t**3 - 3 * t**2 + 1) * knee
            + (t**3 - 2 * t**2 + t) * (1 - knee)
            + (3 * t**2 - 2 * t**3) * top
        )
    levels = np.linspace(0, 1000, 200_001)
    return float(np.interp(signal * pq(1000.0), pq(levels), levels))


@pytest.mark.parametrize(
    ("pix_fmt", "bits"), [("yuv420p", 8), ("yuv444p", 8), ("yuv422p10le", 10), ("yuv444p12le", 12)]
)
@pytest.mark.parametrize("matrix", [1, 5, 6, 7, 9])
@pytest.mark.parametrize("colour_range", [0, 1, 2])  # not said, limited, full
def test_matrix_range_and_depth_are_honoured(
    tmp_path: Path, pix_fmt: str, bits: int, matrix: int, colour_range: int
) -> None:
    planes = planes_of(CHART / 255, matrix, full=colour_range == 2, bits=bits)
    path = write_chart(tmp_path / "a.mkv", planes, pix_fmt, colorspace=matrix, color_range=colour_range)
    np.testing.assert_allclose(shown(path), CHART, atol=3)
    assert probe(path).notes == ""


@pytest.mark.parametrize("hw", [(720, 1280), (1280, 720), (1080, 1920), (480, 640), (576, 720)])
def test_untagged_pictures_are_bt709_in_hd_and_bt601_in_sd(tmp_path: Path, hw: tuple[int, int]) -> None:
    planes = planes_of(CHART[:1] / 255, 5 if max(hw) < 1280 else 1, full=False, bits=8)
    path = write_chart(tmp_path / "a.mkv", planes, "yuv420p", hw=hw)
    np.testing.assert_allclose(next(decode(path)).image[50, 50].astype(int), CHART[0], atol=3)


@pytest.mark.parametrize(("pix_fmt", "bits"), [("gbrp", 8), ("gbrp10le", 10), ("gbrp12le", 12)])
def test_rgb_is_taken_as_it_is(tmp_path: Path, pix_fmt: str, bits: int) -> None:
    planes = planes_of(CHART / 255, 0, full=True, bits=bits)
    name, codec = ("a.avi", "magicyuv") if bits == 8 else ("a.mkv", "ffv1")
    path = write_chart(tmp_path / name, planes, pix_fmt, codec=codec)
    np.testing.assert_allclose(shown(path), CHART, atol=1)


@pytest.mark.parametrize(("pix_fmt", "bits"), [("gray", 8), ("gray10le", 10)])
@pytest.mark.parametrize("colour_range", [0, 1, 2])
def test_grey_is_full_range_unless_it_says_otherwise(
    tmp_path: Path, pix_fmt: str, bits: int, colour_range: int
) -> None:
    greys = np.repeat(np.array([0, 40, 128, 200, 255])[:, None], 3, axis=1)
    planes = planes_of(greys / 255, 1, full=colour_range != 1, bits=bits)
    path = write_chart(tmp_path / "a.mkv", planes, pix_fmt, color_range=colour_range)
    np.testing.assert_allclose(shown(path), greys, atol=2)


def test_full_range_jpeg_video(tmp_path: Path) -> None:
    planes = planes_of(CHART / 255, 5, full=True, bits=8)
    path = write_chart(
        tmp_path / "a.avi",
        planes,
        "yuvj444p",
        codec="mjpeg",
        options={"qmin": "1", "qmax": "1"},
        color_range=2,
    )
    np.testing.assert_allclose(shown(path), CHART, atol=4)


def test_full_range_formats_need_no_tag() -> None:
    assert coding_of(av.VideoFrame(64, 48, "yuvj420p")).full_range
    assert not coding_of(av.VideoFrame(64, 48, "yuv420p")).full_range


def test_palettes(tmp_path: Path) -> None:
    colour = (216, 108, 170)  # 3, 3 and 2 bits hold it
    path = write_clip(tmp_path / "a.gif", flat_colour(colour), even_times(3), codec="gif", pix_fmt="rgb8")
    np.testing.assert_allclose(next(decode(path)).image[9, 9].astype(int), colour, atol=2)


@pytest.mark.parametrize("primaries", [9, 12])
@pytest.mark.parametrize("pix_fmt", ["yuv444p10le", "gbrp12le"])
def test_wide_gamuts_become_bt709(tmp_path: Path, primaries: int, pix_fmt: str) -> None:
    coded = srgb(linear(CHART) @ np.array(WIDE_FROM_BT709[primaries]).T) / 255
    matrix, bits = (9, 10) if pix_fmt.startswith("yuv") else (0, 12)
    path = write_chart(
        tmp_path / "a.mkv", planes_of(coded, matrix, full=False, bits=bits), pix_fmt,
        colorspace=matrix, color_range=1 if matrix else 2, color_primaries=primaries, color_trc=1,
    )  # fmt: skip
    np.testing.assert_allclose(shown(path), CHART, atol=3)
    assert "wide gamut" in probe(path).notes


def test_colours_outside_the_gamut_keep_their_luminance(tmp_path: Path) -> None:
    coded = np.array([(0.9, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.9), (0.1, 0.7, 0.8)])
    path = write_chart(
        tmp_path / "a.mkv", planes_of(coded, 9, full=False, bits=10), "yuv444p10le",
        colorspace=9, color_range=1, color_primaries=9, color_trc=14,
    )  # fmt: skip
    wanted = linear(coded * 255) @ [0.2627, 0.6780, 0.0593]
    found = linear(shown(path)) @ [0.2126, 0.7152, 0.0722]
    np.testing.assert_allclose(found, wanted, rtol=0.04)
    assert (shown(path).min(axis=-1) < 12).all()  # as saturated as BT.709 can be


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_below_the_knee_is_proportional_to_light(tmp_path: Path, transfer: int, name: str) -> None:
    nits = 85 * linear(CHART)
    wide = nits @ np.array(WIDE_FROM_BT709[9]).T
    coded = pq(wide) if transfer == 16 else hlg(wide)
    path = write_chart(
        tmp_path / "a.mkv", planes_of(coded, 9, full=False, bits=12), "yuv444p12le",
        colorspace=9, color_range=1, color_primaries=9, color_trc=transfer,
    )  # fmt: skip
    np.testing.assert_allclose(shown(path), srgb(nits / 203), atol=2.5)
    assert probe(path).notes == f"HDR ({name}) tone-mapped to BT.709"


@pytest.mark.parametrize("transfer", [16, 18])
def test_bright_hdr_follows_the_published_curve(tmp_path: Path, transfer: int) -> None:
    nits = np.array([1.0, 50, 85, 120, 203, 400, 700, 1000] + ([4000.0] if transfer == 16 else []))
    grey = np.repeat(nits[:, None], 3, axis=1)
    path = write_chart(
        tmp_path / "a.mkv", planes_of(pq(grey) if transfer == 16 else hlg(grey), 9, full=False, bits=12),
        "yuv444p12le", colorspace=9, color_range=1, color_primaries=9, color_trc=transfer,
    )  # fmt: skip
    wanted = srgb(np.array([compressed(value) for value in nits]) / 203)
    found = shown(path)
    np.testing.assert_allclose(found, np.repeat(wanted[:, None], 3, axis=1), atol=2)
    assert found[7:].min() >= 254


def test_untagged_primaries_of_hdr_are_bt2020(tmp_path: Path) -> None:
    wide = 85 * linear(CHART) @ np.array(WIDE_FROM_BT709[9]).T
    path = write_chart(
        tmp_path / "a.mkv",
        planes_of(pq(wide), 9, full=False, bits=12),
        "yuv444p12le",
        color_range=1,
        color_trc=16,
    )
    np.testing.assert_allclose(shown(path), srgb(85 * linear(CHART) / 203), atol=2.5)


@pytest.mark.parametrize("name", ["stream-only.ts", "both.mp4", "both.mkv"])
def test_hdr_is_known_whether_the_stream_or_the_container_says_it(tmp_path: Path, name: str) -> None:
    """The other tests' FFV1 leaves it to the container alone."""
    wide = 85 * linear(CHART) @ np.array(WIDE_FROM_BT709[9]).T
    path = write_chart(
        tmp_path / name, planes_of(pq(wide), 9, full=False, bits=10), "yuv444p10le", codec="libx265",
        options={"preset": "ultrafast", "x265-params": f"lossless=1:{LONE_FRAME}"},
        colorspace=9, color_range=1, color_primaries=9, color_trc=16,
    )  # fmt: skip
    np.testing.assert_allclose(shown(path), srgb(85 * linear(CHART) / 203), atol=4)
    assert probe(path).notes.startswith("HDR (PQ)")


def test_a_shrunk_hdr_picture_has_the_same_colours(tmp_path: Path) -> None:
    planes = planes_of(pq(np.full((1, 3), 60.0)), 9, full=False, bits=10)
    path = write_chart(
        tmp_path / "a.mkv", planes, "yuv420p10le", hw=(96, 128),
        colorspace=9, color_range=1, color_primaries=9, color_trc=16,
    )  # fmt: skip
    image = next(decode(path, max_side_px=32)).image
    assert image.shape == (24, 32, 3)
    np.testing.assert_allclose(image.reshape(-1, 3).mean(axis=0), srgb(np.full(3, 60 / 203)), atol=2)


@pytest.mark.parametrize("transfer", ["sdr", "pq", "hlg"])
@pytest.mark.parametrize("primaries", ["bt2020", "p3"])
def test_tables_agree_with_the_formulas(transfer: Transfer, primaries: Primaries) -> None:
    coded = np.random.default_rng(3).integers(0, 4096, (3, 60, 70)).astype(np.uint16)
    red, green, blue = coded
    found = colour_module._mapped((red, green, blue), colour_module._tables(transfer, primaries)).astype(int)
    wanted = np.rint(255 * srgb_from_coded(np.moveaxis(coded, 0, -1) / 4095, transfer, primaries))
    assert np.abs(found - wanted).max() <= 4
    assert np.abs(found - wanted).mean() < 0.05


@pytest.mark.parametrize(("matrix", "name"), [(8, "YCgCo"), (14, "ICtCp"), (15, "Dolby Vision profile 5")])
def test_colours_that_cannot_be_turned_into_rgb_are_a_typed_error(
    tmp_path: Path, matrix: int, name: str
) -> None:
    planes = planes_of(CHART / 255, 1, full=False, bits=8)
    path = write_chart(tmp_path / "a.mkv", planes, "yuv444p", colorspace=matrix, color_range=1)
    with pytest.raises(DecodeError, match=name) as caught:
        list(decode(path))
    assert str(path) in caught.value.message
    with pytest.raises(DecodeError, match=name):
        probe(path)


def test_dolby_vision_with_an_ordinary_base_layer_is_read_and_profile_5_is_not(tmp_path: Path) -> None:
    options = {"preset": "ultrafast", "x265-params": LONE_FRAME}
    planes = planes_of(pq(85 * linear(CHART)), 9, full=False, bits=10)
    tags = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": 16}
    for name, tagged in (("tagged", tags), ("untagged", {})):
        path = write_chart(
            tmp_path / f"{name}.mp4", planes, "yuv420p10le", codec="libx265", options=options, **tagged
        )
        path.write_bytes(path.read_bytes().replace(b"hev1", b"dvh1").replace(b"hvc1", b"dvh1"))
    assert probe(tmp_path / "tagged.mp4").notes == "HDR (PQ) tone-mapped to BT.709"
    with pytest.raises(DecodeError, match="profile 5"):
        probe(tmp_path / "untagged.mp4")
