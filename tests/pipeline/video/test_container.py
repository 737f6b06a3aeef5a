"""Which track is the film, and text that is not UTF-8."""

from __future__ import annotations

import av
import pytest
from av.stream import Disposition

from pipeline.video.decode import decode, probe
from pipeline.video.packet_index import packet_index
from schemas.errors import DecodeError
from tests.support.clips import counting_frames, number_in, write_clip
from tests.support.odd_films import PLAIN, film, together, with_cover

wide = counting_frames((96, 128))


@pytest.mark.parametrize("cover_first", [True, False])
@pytest.mark.parametrize("flag", [PLAIN, Disposition.default, Disposition.attached_pic])
@pytest.mark.parametrize("name", ["film.mkv", "film.mp4", "film.mov"])
def test_a_cover_picture_is_never_the_film(tmp_path, name, flag, cover_first):
    path = with_cover(tmp_path / name, flag=flag, cover_first=cover_first)
    assert [number_in(frame.image) for frame in decode(path)] == list(range(48))
    assert packet_index(path).count == 48
    assert (probe(path).width_px, probe(path).height_px) == (64, 48)


@pytest.mark.parametrize(
    ("flags", "width_px"),
    [
        ((PLAIN, PLAIN), 128),
        ((Disposition.default, PLAIN), 64),
        ((PLAIN, Disposition.default), 128),
        ((Disposition.default, Disposition.default), 128),
    ],
)
def test_the_default_track_comes_before_the_largest(tmp_path, flags, width_px):
    small = film(tmp_path / "small.mp4")
    large = write_clip(tmp_path / "large.mp4", wide, [at / 30 for at in range(20)])
    path = together(tmp_path / "both.mkv", [(small, flags[0]), (large, flags[1])])
    frames = list(decode(path, start_s=0.1))
    assert probe(path).width_px == frames[0].image.shape[1] == width_px
    assert packet_index(path).count == (48 if width_px == 64 else 20)
    assert len(frames) == packet_index(path).count - 3


def test_music_with_a_cover_is_no_film(tmp_path):
    cover = write_clip(tmp_path / "cover.mov", wide, [0.0], codec="mjpeg", pix_fmt="yuvj420p")
    path = together(tmp_path / "music.mp4", [(cover, Disposition.attached_pic)])
    with pytest.raises(DecodeError, match="no video stream, only cover pictures"):
        probe(path)


def test_one_picture_alone_is_a_film_of_one_frame(tmp_path):
    path = write_clip(tmp_path / "one.mov", wide, [0.0], codec="mjpeg", pix_fmt="yuvj420p")
    assert len(list(decode(path))) == 1


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4"])
def test_text_that_is_not_utf8_is_no_error(tmp_path, name):
    path = film(tmp_path / name)
    with av.open(str(path)) as reader, av.open(str(tmp_path / f"named-{name}"), "w") as writer:
        writer.metadata["title"] = "TITLE-GOES-HERE"
        stream = writer.add_stream_from_template(reader.streams.video[0])
        stream.metadata["handler_name"] = stream.metadata["title"] = "TRACK-GOES-HERE"
        for packet in reader.demux(reader.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                writer.mux(packet)
    data = (tmp_path / f"named-{name}").read_bytes()
    assert b"TITLE-GOES-HERE" in data
    assert b"TRACK-GOES-HERE" in data
    path.write_bytes(data.replace(b"TITLE", b"caf\xe9\xff").replace(b"TRACK", b"\xfcber\xfe"))
    assert probe(path).duration_s == pytest.approx(1.6, abs=2e-3)
    assert len(list(decode(path))) == 48
