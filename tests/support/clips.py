"""Small synthetic video files, written with real encoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

Paint = Callable[[int], np.ndarray]
"""Frame number -> (H, W, 3) uint8 RGB."""


def write_clip(
    path: Path,
    paint: Paint,
    times_s: Sequence[float],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    key_every: int = 12,
    b_frames: int = 0,
    start_s: float = 0.0,
    rotation_deg: float | None = None,
    mirrored: bool = False,
    pixel_aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
    tags: dict[str, int] | None = None,
    tick: Fraction = Fraction(1, 90_000),
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encodes `paint(0), paint(1), ...` shown at `start_s + times_s`; times are exact to `tick` seconds.

    `rotation_deg` is counter-clockwise, as the display matrix has it. `tags` sets colour attributes of the codec.
    """
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=1 / tick if tick > Fraction(1, 1000) else 30)
        stream.height, stream.width = paint(0).shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = tick
        stream.codec_context.gop_size = key_every
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.thread_count = 1
        stream.codec_context.options = _options(codec, options)
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        if rotation_deg is not None or mirrored:
            stream.set_display_rotation(rotation_deg or 0.0, hflip=mirrored)
        for number, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(paint(number), format="rgb24")
            for name, value in (tags or {}).items():
                frame = frame.reformat(format=pix_fmt, **_destination(name, value))
            frame.pts, frame.time_base = round((start_s + time_s) / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path, seconds: float = 1.0) -> Path:
    """A file with an audio stream and nothing to see."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        wave = (0.1 * np.sin(np.arange(round(seconds * 44_100)) / 20)).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44_100, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def even_times(count: int, fps: float = 30.0) -> list[float]:
    """Presentation times of `count` frames at a constant rate."""
    return [number / fps for number in range(count)]


def counting_frames(hw: tuple[int, int] = (48, 64)) -> Paint:
    """Frames that carry their own number as eight black or white columns, most significant bit first."""

    def paint(number: int) -> np.ndarray:
        bits = np.array([255 * ((number >> bit) & 1) for bit in range(7, -1, -1)], dtype=np.uint8)
        row = bits[np.arange(hw[1]) * 8 // hw[1]]
        return np.broadcast_to(row[None, :, None], (*hw, 3)).copy()

    return paint


def number_in(image: np.ndarray) -> int:
    """The number that `counting_frames` painted."""
    columns = image.shape[1]
    centres = (np.arange(8) * 2 + 1) * columns // 16
    bits = image[image.shape[0] // 2, centres].mean(axis=-1) > 127
    return int(sum(1 << (7 - at) for at, bit in enumerate(bits) if bit))


def moving_blob(hw: tuple[int, int] = (96, 128), px_per_frame: float = 1.5) -> Paint:
    """A bright soft disc that drifts to the right over a dim texture: motion, but never a cut."""
    v, u = np.mgrid[: hw[0], : hw[1]] + 0.5
    ground = 60 + 30 * np.sin(u / 7) * np.cos(v / 5)

    def paint(number: int) -> np.ndarray:
        disc = 150 * np.exp(-((u - 20 - px_per_frame * number) ** 2 + (v - hw[0] / 2) ** 2) / (2 * 8**2))
        return np.repeat(np.clip(ground + disc, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)

    return paint


def scenes(*parts: tuple[Paint, int]) -> Paint:
    """Plays each paint for its number of frames, one after the other: hard cuts between them."""
    table = [(paint, number) for paint, count in parts for number in range(count)]
    return lambda number: table[number][0](table[number][1])


def flat_colour(rgb: tuple[int, int, int], hw: tuple[int, int] = (96, 128)) -> Paint:
    """A still picture of one colour."""
    image = np.empty((*hw, 3), dtype=np.uint8)
    image[:] = rgb
    return lambda number: image


def four_corners(hw: tuple[int, int] = (48, 64)) -> Paint:
    """Red, green, blue and white in the upper left, upper right, lower left and lower right."""
    image = np.zeros((*hw, 3), dtype=np.uint8)
    row, column = hw[0] // 2, hw[1] // 2
    image[:row, :column], image[:row, column:] = (255, 0, 0), (0, 255, 0)
    image[row:, :column], image[row:, column:] = (0, 0, 255), (255, 255, 255)
    return lambda number: image


def _options(codec: str, options: dict[str, str] | None) -> dict[str, str]:
    defaults = {
        "libx264": {"preset": "ultrafast", "crf": "12"},
        "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1"},
    }
    return {**defaults.get(codec, {}), **(options or {})}


def _destination(name: str, value: int) -> dict[str, int]:
    return {{"colorspace": "dst_colorspace", "color_range": "dst_color_range"}[name]: value}


def remuxed(source: Path, path: Path, options: dict[str, str]) -> Path:
    """The same packets in another container."""
    with av.open(str(source)) as reader, av.open(str(path), "w", options=options) as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(reader.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                writer.mux(packet)
    return path
