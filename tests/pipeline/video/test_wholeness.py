"""What was cut short is found by what is missing; what headers say of durations and counts decides nothing."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import pytest

from pipeline.video.decode import decode, probe
from pipeline.video.packet_index import packet_index
from schemas.errors import DecodeError
from tests.support.clips import number_in, remuxed, write_sound
from tests.support.odd_films import (
    FILMS,
    MPEG2,
    OPEN_GOP,
    PLAIN,
    THIRTIETH,
    film,
    long_last_frame,
    mux,
    together,
    trimmed,
    with_dropped_frames,
    without_beginning,
)

STILLS = {"codec": "mjpeg", "pix_fmt": "yuvj420p"}


def numbers(path: Path) -> list[int]:
    return [number_in(frame.image) for frame in decode(path)]


def rewritten(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def live(path: Path) -> Path:
    """Matroska whose segment and clusters are of open length: the first written so, the others made so."""
    data = film(path, container_options={"live": "1"}, b_frames=2).read_bytes()
    cluster = data.index(b"\x1f\x43\xb6\x75") + 4
    length = 9 - data[cluster].bit_length()
    return rewritten(path, data[:cluster] + b"\x01" + b"\xff" * 7 + data[cluster + length :])


WHOLE = {
    "index-at-end.mp4": lambda path: film(path, b_frames=2),
    "index-first.mp4": lambda path: film(path, container_options={"movflags": "faststart"}),
    "fragments.mp4": lambda path: film(
        path, container_options={"movflags": "frag_keyframe+empty_moov+skip_trailer"}
    ),
    "segments.mp4": lambda path: film(path, container_options={"movflags": "dash+global_sidx+skip_trailer"}),
    "trimmed.mp4": trimmed,
    "film.mkv": film,
    "live.mkv": live,
    "film.webm": lambda path: film(path, codec="libvpx", options={"deadline": "realtime"}),
    "stills.avi": lambda path: film(path, tick=THIRTIETH, **STILLS),
    "film.flv": film,
    "film.ts": lambda path: film(path, **OPEN_GOP),
    "film.m2ts": lambda path: film(path, container_options={"mpegts_m2ts_mode": "1"}),
    "film.mpg": lambda path: film(path, **MPEG2),
    "film.wmv": lambda path: film(path, codec="wmv2", tick=THIRTIETH),
    "film.mxf": lambda path: film(path, **MPEG2),
}


@pytest.mark.parametrize("share", [0.9, 0.5, 0.2])
@pytest.mark.parametrize("name", WHOLE)
def test_half_a_file_is_no_film(tmp_path, name, share):
    whole = WHOLE[name](tmp_path / name)
    assert numbers(whole)[-1] == 47
    cut = rewritten(tmp_path / f"cut-{name}", whole.read_bytes()[: int(whole.stat().st_size * share) | 1])
    with pytest.raises(DecodeError, match=r"truncated|cannot be opened"):
        list(decode(cut))


@pytest.mark.parametrize("lost", [3, 40])
@pytest.mark.parametrize("name", ["live.mkv", "film.flv", "film.ts", "film.m2ts", "film.mpg"])
def test_a_last_frame_cut_short_is_found(tmp_path, name, lost):
    """Of the last frame a few bytes are missing: FFmpeg decodes what is there, without a word."""
    whole = WHOLE[name](tmp_path / name).read_bytes()
    with pytest.raises(DecodeError, match="truncated"):
        list(decode(rewritten(tmp_path / f"cut-{name}", whole[: -lost - (4 if name.endswith("flv") else 0)])))


def test_a_segment_index_counts_the_bytes_of_its_segments(tmp_path):
    """Cut between two segments nothing is broken off, but the index at the beginning lists more."""
    whole = WHOLE["segments.mp4"](tmp_path / "film.mp4").read_bytes()
    last = whole.rindex(b"moof") - 4
    with pytest.raises(DecodeError, match=rf"truncated: {last} of at least \d+ bytes"):
        probe(rewritten(tmp_path / "cut.mp4", whole[:last]))


def test_samples_past_the_end_of_an_open_box_are_missed(tmp_path):
    """An `mdat` box of length 0 reaches to the end of the file, wherever that is."""
    whole = bytearray(WHOLE["index-first.mp4"](tmp_path / "film.mp4").read_bytes())
    at = whole.rindex(b"mdat")
    whole[at - 4 : at] = bytes(4)
    assert numbers(rewritten(tmp_path / "open.mp4", bytes(whole))) == list(range(48))
    with pytest.raises(DecodeError, match="truncated"):
        probe(rewritten(tmp_path / "cut.mp4", bytes(whole[: at + (len(whole) - at) // 2])))


def test_what_is_cut_away_after_the_film_is_not_missed(tmp_path):
    """The index of a Matroska film comes last."""
    whole = film(tmp_path / "film.mkv").read_bytes()
    index = whole.rindex(b"\x1c\x53\xbb\x6b")
    assert numbers(rewritten(tmp_path / "no-index.mkv", whole[: index + 8])) == list(range(48))
    with pytest.raises(DecodeError, match="truncated"):
        probe(rewritten(tmp_path / "cut.mkv", whole[: index - 8]))


@pytest.mark.parametrize("tail", [b"\0" * 777, b"\0\0\0", b"TAG" + b"song" * 30, bytes(range(200, 250)) * 20])
@pytest.mark.parametrize("name", ["film.mkv", "film.flv", "film.mpg", "film.wmv", "stills.avi", "film.mxf"])
def test_whatever_follows_a_film_is_not_counted(tmp_path, name, tail):
    whole = WHOLE[name](tmp_path / name).read_bytes()
    assert numbers(rewritten(tmp_path / f"longer-{name}", whole + tail))[-1] == 47


def test_an_avi_without_its_index_is_whole(tmp_path):
    """A recorder that lost power: no index, no lengths."""
    data = bytearray(WHOLE["stills.avi"](tmp_path / "film.avi").read_bytes())
    movi = data.index(b"movi")
    end = movi + struct.unpack("<I", data[movi - 4 : movi])[0]
    data[4:8], data[movi - 4 : movi] = bytes(4), bytes(4)
    assert numbers(rewritten(tmp_path / "unfinished.avi", bytes(data[:end]))) == list(range(48))


def test_an_edit_list_hides_samples_and_is_no_loss(tmp_path):
    path = trimmed(tmp_path / "film.mp4", b_frames=2, key_every=30)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 48  # what the header counts
    assert numbers(path) == list(range(22, 48))
    assert probe(path).duration_s == pytest.approx(26 / 30)
    assert packet_index(path).is_complete


@pytest.mark.parametrize("name", ["film.mkv", "film.ts", "film.flv", "film.mp4"])
def test_a_recording_that_starts_late_is_whole(tmp_path, name):
    """Tags and headers of some containers count its duration from zero."""
    path = film(tmp_path / name, start_s=12.5, b_frames=2)
    assert numbers(path) == list(range(48))
    assert probe(path).duration_s == pytest.approx(1.6, abs=2e-3)


def test_a_last_frame_that_stays_is_one_frame(tmp_path):
    path = long_last_frame(tmp_path / "film.mp4")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(47 / 30 + 2.8, abs=1e-3)
    assert numbers(path) == list(range(48))
    assert probe(path).duration_s == pytest.approx(1.6, abs=1e-3)


def test_dropped_frames_are_pauses(tmp_path):
    path = with_dropped_frames(tmp_path / "film.avi")
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 60
    frames = list(decode(path))
    assert [number_in(frame.image) for frame in frames] == list(range(48))
    assert [round(frame.pts_s * 30) for frame in frames] == [
        number for number in range(60) if number % 5 != 3
    ]


def test_a_header_that_promises_more_is_a_header(tmp_path):
    """A copy of the first half with the whole film's tags."""
    source = film(tmp_path / "source.mkv")
    path = mux(tmp_path / "half.mkv", source, lambda packets: packets[:24])
    data = path.read_bytes()
    tag = data.index(b"DURATION")
    data = data[:tag] + data[tag:].replace(b"00:00:00.", b"00:00:09.", 1)
    assert numbers(rewritten(path, data)) == list(range(24))


def test_sound_that_goes_on_is_not_missing_film(tmp_path):
    sound = write_sound(tmp_path / "sound.m4a", 6.0)
    path = together(tmp_path / "both.mp4", [(film(tmp_path / "source.mp4"), PLAIN), (sound, PLAIN)])
    assert probe(path).duration_s == pytest.approx(1.6, abs=1e-3)


def test_pictures_before_the_first_keyframe_count_nothing(tmp_path, caplog):
    """A broadcast begins anywhere. Time begins with the first picture that can be decoded."""
    for settings in (MPEG2, OPEN_GOP):
        path = without_beginning(tmp_path / "film.ts", **settings)
        frames = list(decode(path))
        facts = probe(path)
        assert 0 < number_in(frames[0].image) < 40
        assert (frames[0].index, frames[0].pts_s) == (0, 0.0)
        assert facts.duration_s == pytest.approx(len(frames) / 30, abs=1e-3)
        assert facts.mean_fps == pytest.approx(30.0, abs=1e-3)
    assert not caplog.text


def test_leading_pictures_of_an_open_gop_are_no_fault_of_a_window(tmp_path, caplog):
    """Windows from every frame to the end: at the end of a film two of few are leading pictures."""
    for name in ("program-stream.mpg", "transport-stream.ts", "open-gop.ts", "open-gop-hevc.mp4"):
        path = FILMS[name](tmp_path / name)
        for at in range(48):
            assert [frame.index for frame in decode(path, start_s=at / 30 - 1e-3)] == list(range(at, 48))
    assert not caplog.text


def test_a_remuxed_film_is_the_film(tmp_path):
    source = film(tmp_path / "source.mp4", b_frames=2)
    for name in ("a.mkv", "b.ts", "c.mov", "d.flv"):
        assert numbers(remuxed(source, tmp_path / name, {})) == list(range(48))
