"""Files that are no good videos, each wrong in its own way."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av

from tests.support.clips import counting_frames, even_times, moving_blob, remuxed, write_clip, write_sound

HUGE_PX = 30_000


def encrypted(path: Path) -> Path:
    """Common encryption (ISO 23001-7): the container is whole, the pictures are noise."""
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
        "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
    }
    source = write_clip(path.with_suffix(".plain.mp4"), moving_blob(), even_times(30))
    remuxed(source, path, options)
    source.unlink()
    return path


def huge_header(path: Path) -> Path:
    """A GIF of 64 x 48 pixels whose header claims 30,000 x 30,000."""
    small = write_clip(
        path.with_suffix(".gif"), counting_frames(), even_times(10), codec="gif", pix_fmt="rgb8"
    )
    data = bytearray(small.read_bytes())
    data[6:10] = struct.pack("<HH", HUGE_PX, HUGE_PX)
    small.unlink()
    path.write_bytes(data)
    return path


def huge_pictures(path: Path) -> Path:
    """A MOV that says 64 x 48, of PNGs with 9,000 x 9,000 black pixels in 80 kB."""
    side = 9_000
    rows = zlib.compress(bytes((side + 1) * side), 1)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    )
    with av.open(str(path), "w", format="mov") as writer:
        stream = writer.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gray"
        for number in range(3):
            packet = av.Packet(bomb)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 10), stream, True
            writer.mux(packet)
    return path


def backwards(path: Path) -> Path:
    """A stream that is played twice: half-way its times begin again."""
    once = write_clip(path.with_suffix(".ts"), counting_frames(), even_times(20)).read_bytes()
    path.with_suffix(".ts").unlink()
    path.write_bytes(once + once)
    return path


def picture(path: Path) -> Path:
    """A PNG, whatever the file's name says."""
    with av.open(str(path.with_suffix(".png")), "w", format="image2") as writer:
        stream = writer.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        frame = av.VideoFrame.from_ndarray(counting_frames()(5), format="rgb24")
        writer.mux(stream.encode(frame))
        writer.mux(stream.encode())
    path.with_suffix(".png").replace(path)
    return path


def loop_of_links(path: Path) -> Path:
    """Two links that point at each other."""
    other = path.with_suffix(".other")
    path.symlink_to(other)
    other.symlink_to(path)
    return path


def sound(path: Path) -> Path:
    """Nothing to see."""
    return write_sound(path)


def zero_frames(path: Path) -> Path:
    """A container with a video stream and no packet in it."""
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as writer:
        stream = writer.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        writer.start_encoding()
    return path


KINDS: dict[str, Callable[[Path], Path]] = {
    make.__name__.replace("_", "-"): make
    for make in (encrypted, huge_header, huge_pictures, backwards, picture, loop_of_links, sound, zero_frames)
}
