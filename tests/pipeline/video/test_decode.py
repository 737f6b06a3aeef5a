"""Decoding against clips whose frames carry their own number."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.video import container as container_module
from pipeline.video import decode as decode_module
from pipeline.video import packet_index as packet_index_module
from pipeline.video import pictures as pictures_module
from pipeline.video.decode import decode, probe
from pipeline.video.packet_index import PacketIndex, packet_index
from pipeline.video.pictures import pictures
from schemas.errors import DecodeError, HumandepthError, SourceError
from tests.support.clips import (
    counting_frames,
    even_times,
    flat_colour,
    four_corners,
    moving_blob,
    number_in,
    remuxed,
    write_clip,
    write_sound,
)

FORMATS = {
    "plain.mp4": {},
    "b-frames.mp4": {"b_frames": 3},
    "open-gop.mkv": {"b_frames": 3, "options": {"x264-params": "open-gop=1"}},
    "late-start.ts": {"b_frames": 2, "start_s": 5.0},
    "ten-bit.mp4": {"codec": "libx265", "pix_fmt": "yuv420p10le", "b_frames": 3},
    "hidden-frames.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "10"}},
    "alpha.mov": {"codec": "prores_ks", "pix_fmt": "yuva444p10le"},
}


@pytest.fixture(scope="module", params=FORMATS)
def counting_clip(request, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clips") / request.param
    return write_clip(path, counting_frames(), even_times(60), **FORMATS[request.param])


def test_frames_come_in_order_with_their_times(counting_clip):
    frames = list(decode(counting_clip))
    assert [number_in(frame.image) for frame in frames] == list(range(60))
    assert [frame.index for frame in frames] == list(range(60))
    np.testing.assert_allclose(
        [frame.pts_s for frame in frames], even_times(60), atol=1.1e-3
    )  # Matroska: whole ms
    assert all(frame.image.flags.c_contiguous and frame.image.dtype == np.uint8 for frame in frames)
    facts = probe(counting_clip)
    assert (facts.width_px, facts.height_px) == (64, 48)
    assert facts.duration_s == pytest.approx(2.0, abs=2e-3)
    assert facts.mean_fps == pytest.approx(30.0, abs=0.05)
    assert facts.sha256 == hashlib.sha256(counting_clip.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "window", [(0.0, 0.5), (0.35, 0.9), (1.0, 1.2), (1.01, 1.5), (1.9, None), (None, 0.2), (3.0, 4.0)]
)
def test_a_window_holds_exactly_the_clips_own_frames(counting_clip, window):
    start_s, end_s = window
    expected = [
        (frame.index, frame.pts_s, frame.image.tobytes())
        for frame in decode(counting_clip)
        if (start_s or 0) <= frame.pts_s < (end_s or 99)
    ]
    found = [
        (frame.index, frame.pts_s, frame.image.tobytes())
        for frame in decode(counting_clip, start_s=start_s, end_s=end_s)
    ]
    assert found == expected


def test_a_late_window_does_not_decode_from_the_start(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", counting_frames(), even_times(120), b_frames=2)
    index = packet_index(path)
    key = next(index.keys_before(int(index.pts[90])))
    delivered = pictures(path, key)
    assert 72 <= index.rank(next(delivered).pts) <= 90
    delivered.close()


def test_a_container_that_seeks_too_far_is_decoded_from_the_start(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4", counting_frames(), even_times(60))
    expected = [frame.index for frame in decode(path, start_s=1.0)]
    last_key = next(packet_index(path).keys_before(1 << 40))
    monkeypatch.setattr(PacketIndex, "keys_before", lambda self, pts: iter([last_key]))
    assert [frame.index for frame in decode(path, start_s=1.0)] == expected == list(range(30, 60))


def test_variable_frame_rate_keeps_presentation_times(tmp_path):
    times = np.concatenate([np.arange(20) / 30, 1.5 + np.arange(20) / 10, 4.0 + np.arange(5) / 60])
    path = write_clip(tmp_path / "clip.mp4", counting_frames(), times, b_frames=2)
    np.testing.assert_allclose([frame.pts_s for frame in decode(path)], times, atol=1e-4)
    facts = probe(path)
    assert facts.mean_fps == pytest.approx(45 / facts.duration_s)
    index_over_fps = np.arange(45) / facts.mean_fps
    assert np.abs(index_over_fps - times).max() > 1.0  # what this test protects from


@pytest.mark.parametrize("sample_fps", [5.0, 7.0, 12.0, 30.0, 60.0])
def test_sampling_keeps_the_first_frame_after_every_tick(tmp_path, sample_fps):
    times = np.sort(np.random.default_rng(1).uniform(0, 3, 60).round(3))
    times = np.unique(np.concatenate([[0.0], times]))
    path = write_clip(tmp_path / "clip.mp4", counting_frames(), times)
    shown = [frame.pts_s for frame in decode(path)]
    ticks = np.arange(0, shown[-1] + 1e-6, 1 / sample_fps)
    expected = np.unique(np.searchsorted(shown, ticks - 1e-7))
    assert [frame.index for frame in decode(path, sample_fps=sample_fps)] == expected.tolist()
    for start_s in shown[::4]:  # also where a window begins at a keyframe that is not sampled
        window = [frame.index for frame in decode(path, sample_fps=sample_fps, start_s=start_s)]
        assert window == [at for at in expected if shown[at] >= start_s]
    late = [frame.index for frame in decode(path, sample_fps=sample_fps, start_s=1.234, end_s=2.5)]
    assert late == [at for at in expected if 1.234 <= shown[at] < 2.5]


@pytest.mark.parametrize("rotation_deg", [0.0, 90.0, 180.0, -90.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_display_matrix_is_applied(tmp_path, rotation_deg, mirrored):
    path = write_clip(
        tmp_path / "clip.mp4", four_corners(), even_times(3), rotation_deg=rotation_deg, mirrored=mirrored
    )
    shown = np.rot90(four_corners()(0), round(rotation_deg / 90))  # counter-clockwise, then the mirror
    shown = shown[:, ::-1] if mirrored else shown
    image = next(decode(path)).image
    assert image.shape == shown.shape
    for row, column in [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)]:
        at = int(row * shown.shape[0]), int(column * shown.shape[1])
        np.testing.assert_allclose(image[at].astype(int), shown[at], atol=12)
    assert (probe(path).height_px, probe(path).width_px) == shown.shape[:2]


@pytest.mark.parametrize("hw", [(45, 67), (47, 64), (48, 65)])
def test_odd_sizes(tmp_path, hw):
    path = write_clip(tmp_path / "clip.mp4", counting_frames(hw), even_times(9), pix_fmt="yuv444p")
    frames = list(decode(path))
    assert {frame.image.shape for frame in frames} == {(*hw, 3)}
    assert [number_in(frame.image) for frame in frames] == list(range(9))


def test_alpha_is_dropped(tmp_path):
    path = write_clip(
        tmp_path / "clip.mov", flat_colour((200, 100, 50)), even_times(3), codec="qtrle", pix_fmt="argb"
    )
    np.testing.assert_array_equal(next(decode(path)).image[5, 5], (200, 100, 50))


def test_non_square_pixels_are_made_square(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", counting_frames(), even_times(3), pixel_aspect=Fraction(4, 3))
    assert next(decode(path)).image.shape == (48, 85, 3)
    assert probe(path).width_px == 85


@pytest.mark.parametrize("colorspace", [1, 5, 9])  # BT.709, BT.601, BT.2020
@pytest.mark.parametrize("color_range", [1, 2])  # limited, full
def test_colour_matrix_and_range_are_honoured(tmp_path, colorspace, color_range):
    colour = (200, 60, 30)
    red, green, blue = (value / 255 for value in colour)
    kr, kb = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}[colorspace]
    y = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = (blue - y) / (2 * (1 - kb)), (red - y) / (2 * (1 - kr))
    luma_scale, luma_zero, chroma_scale = (219, 16, 224) if color_range == 1 else (255, 0, 255)
    planes = [luma_zero + luma_scale * y, *(128 + chroma_scale * value for value in chroma)]
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = colorspace, color_range
        values = np.stack([np.full((48, 64), round(plane), np.uint8) for plane in planes])
        frame = av.VideoFrame.from_ndarray(values, format="yuv444p")
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    np.testing.assert_allclose(next(decode(path)).image[20, 20].astype(int), colour, atol=3)


def test_shrinking_keeps_the_aspect(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", four_corners((96, 128)), even_times(2), rotation_deg=90)
    image = next(decode(path, max_side_px=32)).image
    assert image.shape == (32, 24, 3)
    np.testing.assert_allclose(image[8, 6].astype(int), (0, 255, 0), atol=12)


def test_memory_does_not_grow_with_length(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", flat_colour((90, 90, 90), (480, 640)), even_times(300))
    frames = decode(path)
    next(frames)
    gc.disable()  # a picture held by a cycle counts as held
    try:
        before = resident_bytes()
        for _ in frames:
            pass
        grown = resident_bytes() - before
    finally:
        gc.enable()
    assert grown < 40 * 480 * 640 * 3  # a decoder's own buffers; 300 kept frames would be 300 of these


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_closing_early_closes_the_file(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", counting_frames(), even_times(30))
    before = len(os.listdir("/proc/self/fd"))
    frames = decode(path)
    next(frames)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    frames.close()
    assert len(os.listdir("/proc/self/fd")) == before


def _bad_file(folder: Path, kind: str) -> Path:
    path = folder / "bad.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "zeros":
        path.write_bytes(bytes(5000))
    elif kind == "text":
        path.write_text("this is not a video\n" * 100)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sound":
        write_sound(path)
    elif kind == "playlist":
        write_clip(folder / "real.ts", counting_frames(), even_times(10))
        path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nreal.ts\n#EXT-X-ENDLIST\n")
    elif kind == "concat":
        write_clip(folder / "real.mp4", counting_frames(), even_times(10))
        path.write_text("ffconcat version 1.0\nfile real.mp4\n")
    elif kind == "no-index":
        clip = write_clip(folder / "real.mp4", counting_frames(), even_times(30))
        data = clip.read_bytes()
        path.write_bytes(data[: data.index(b"moov")])  # the index lies at the end
    elif kind == "no-times":
        path = write_clip(folder / "bad.h264", counting_frames(), even_times(10))
    elif kind == "pipe":
        os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "no such file"),
        ("empty", "empty"),
        ("zeros", "cannot be opened"),
        ("text", "cannot be opened"),
        ("folder", "is a folder"),
        ("sound", "no video stream, only audio"),
        ("playlist", "cannot be opened"),
        ("concat", "cannot be opened"),
        ("no-index", "cannot be opened"),
        ("no-times", "10 of 10 frames"),
        ("pipe", "not a regular file"),
    ],
)
def test_bad_files_are_typed_errors(tmp_path, kind, message):
    path = _bad_file(tmp_path, kind)
    for use in (probe, lambda file: list(decode(file))):
        with pytest.raises(SourceError if kind == "missing" else DecodeError, match=message) as caught:
            use(path)
        assert str(path) in caught.value.message
        assert caught.value.remedy


def test_no_permission_is_a_typed_error(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4", counting_frames(), even_times(5))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(
        Path, "open", refuse
    )  # root may read everything, so the mode bits cannot be used here
    with pytest.raises(SourceError, match="no permission"):
        probe(path)
    monkeypatch.setattr(container_module.av, "open", refuse)
    packet_index_module._read_packet_index.cache_clear()
    with pytest.raises(SourceError, match="no permission"):
        list(decode(path))


@pytest.mark.parametrize("share", [0.95, 0.7, 0.4, 0.1])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.flv"])
def test_truncated_files_never_pass(tmp_path, share, name):
    options = {"movflags": "frag_keyframe+empty_moov"}
    whole = write_fragmented(tmp_path / name, options if name.endswith("mp4") else {})
    cut = tmp_path / f"cut-{name}"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    for use in (probe, lambda file: list(decode(file))):
        with pytest.raises(DecodeError, match="truncated"):
            use(cut)


def test_a_last_packet_cut_short_never_passes(tmp_path):
    whole = write_fragmented(tmp_path / "clip.flv", {})
    path = tmp_path / "cut.flv"
    path.write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(DecodeError, match=r"truncated: \d+ of at least \d+ bytes"):
        list(decode(path))


def write_fragmented(path: Path, options: dict[str, str]) -> Path:
    source = write_clip(
        path.with_name("source.mp4"), moving_blob((120, 160)), even_times(600), options={"crf": "30"}
    )
    return remuxed(source, path, options)


def test_a_stream_that_breaks_off_says_how_far_it_came(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4", counting_frames(), even_times(30))
    real = container_module.opened

    class Breaking:
        def __init__(self, stream: object) -> None:
            self._stream, self._left = stream, 7

        def decode(self, packet: object):
            self._left -= 1
            if self._left < 0:
                raise av.error.InvalidDataError(1094995529, "Invalid data found when processing input")
            return self._stream.decode(packet)

    @contextlib.contextmanager
    def opened(file: Path):
        with real(file) as (container, stream):
            yield Demuxing(container, stream), Breaking(stream)

    class Demuxing:
        def __init__(self, container: object, stream: object) -> None:
            self._container, self._stream = container, stream

        def demux(self, _: object):
            return self._container.demux(self._stream)

    packet_index(path)
    monkeypatch.setattr(pictures_module, "opened", opened)
    seen = []
    with pytest.raises(DecodeError, match="breaks off after 7 frames"):
        seen.extend(decode(path))


def test_a_picture_that_changes_size_is_a_typed_error(tmp_path):
    parts = [
        write_clip(tmp_path / f"{at}.ts", flat_colour((90, 90, 90), hw), even_times(10), start_s=start_s)
        for at, (hw, start_s) in enumerate([((48, 64), 1.0), ((96, 128), 1.0 + 1 / 3)])
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(DecodeError, match="changes size from 64x48 to 128x96"):
        list(decode(path))


def test_giant_pictures_are_refused(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4", counting_frames(), even_times(5))
    monkeypatch.setattr(container_module, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(DecodeError, match="64x48 pixels are too large"):
        list(decode(path))


def test_few_frames_out_of_order_are_dropped_and_many_are_an_error(tmp_path, caplog):
    path = write_clip(tmp_path / "clip.mp4", counting_frames(), even_times(30))
    index = packet_index(path)
    whole = list(pictures(path))
    twice = [*whole[:10], whole[4], *whole[10:]]
    kept = [number for number, _, _ in decode_module._in_order(path, twice, index)]
    assert kept == list(range(30))
    assert "dropped 1 of 31" in caplog.text
    with pytest.raises(DecodeError, match="10 of 20 frames"):
        list(decode_module._in_order(path, [*whole[:10], *whole[:10]], index))


def test_mutated_clips_give_frames_or_a_typed_error(tmp_path):
    rng = np.random.default_rng(7)
    originals = [
        write_clip(tmp_path / "a.mp4", moving_blob((48, 64)), even_times(20), b_frames=2).read_bytes(),
        write_clip(
            tmp_path / "b.webm",
            moving_blob((48, 64)),
            even_times(20),
            codec="libvpx-vp9",
            options={"cpu-used": "8", "deadline": "realtime"},
        ).read_bytes(),
    ]
    outcomes = {"frames": 0, "error": 0}
    for number in range(50):
        data = bytearray(originals[number % 2])
        if number % 5 == 4:
            data = data[: int(rng.integers(1, len(data)))]
        for at in rng.integers(0, len(data), size=int(rng.integers(1, 12))):
            data[at] = int(rng.integers(256))
        path = tmp_path / f"mutant-{number}"
        path.write_bytes(data)
        try:
            probe(path)
            frames = list(decode(path))
        except HumandepthError:
            outcomes["error"] += 1
            continue
        outcomes["frames"] += 1
        assert frames
        assert all(frame.image.ndim == 3 and frame.image.dtype == np.uint8 for frame in frames)
        assert (np.diff([frame.pts_s for frame in frames]) > 0).all()
        assert (np.diff([frame.index for frame in frames]) > 0).all()
    assert min(outcomes.values()) >= 5, outcomes
