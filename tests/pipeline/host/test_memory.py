"""Freed memory leaves the process; rendered frames hold what they need and no more."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.host.memory import LARGE_BLOCK_BYTES, return_free_memory, with_memory_returned
from pipeline.method.rendered_frames import RenderedFrames
from pipeline.method.segment import track_segment
from pipeline.rendering import render
from pipeline.video.crops import decode_image, encode_jpeg
from pipeline.video.shots import segments_of
from pipeline.video.source import clips_from_arguments
from schemas.conventions import IMAGE_PX, MAP_PX
from tests.support.fast_units import fast_resources, fast_settings, write_clips

MB = 10**6


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc only")
def test_blocks_freed_between_others_are_handed_back() -> None:
    blocks = [bytearray(b"\1" * 60_000) for _ in range(3000)]
    del blocks[::2], blocks[1::2]  # a quarter stays, spread over all of it
    before = resident_bytes()
    return_free_memory()
    assert before - resident_bytes() > 90 * MB
    assert len(blocks) == 750


KEEPING = """
from pathlib import Path
import numpy as np
from pipeline.host.memory import return_free_memory, return_large_blocks_when_freed
if {hold}:
    return_large_blocks_when_freed()
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
np.ones(30_000_000, np.uint8)  # freed at once: from then on glibc would keep what is smaller
before = resident()
blocks = [np.ones(size, np.uint8) for _ in range(12) for size in ({size}, 60_000)]
del blocks[::2]  # what lies between them stays
print(resident() - before)
return_free_memory()
print(resident() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc only")
def test_large_blocks_leave_when_they_are_freed() -> None:
    """Each in a process of its own: the C library is told for good. Smaller blocks leave when that is asked for."""

    def grown(**facts: object) -> list[int]:
        command = [sys.executable, "-c", KEEPING.format(**facts)]
        done = subprocess.run(command, capture_output=True, check=True)
        return [int(number) for number in done.stdout.split()]

    large, small = LARGE_BLOCK_BYTES + 4096, LARGE_BLOCK_BYTES - 4096
    assert max(grown(hold=True, size=large)) < 10 * MB
    assert grown(hold=False, size=large)[0] > 50 * MB
    kept, returned = grown(hold=True, size=small)
    assert kept > 50 * MB
    assert returned < 10 * MB


def test_memory_is_returned_between_items_and_all_items_come() -> None:
    assert list(with_memory_returned(range(40))) == list(range(40))


def test_a_rendered_frame_is_the_body_drawn_and_the_picture_shrunk(tmp_path: Path) -> None:
    settings = fast_settings()
    resources = fast_resources(settings)
    (clip,) = clips_from_arguments([str(write_clips(tmp_path, ["clip"]))])
    (segment,) = segments_of(clip, settings.video)
    (track,) = track_segment(segment, resources).tracks
    picture = np.random.default_rng(0).integers(0, 256, (IMAGE_PX, IMAGE_PX, 3), np.uint8)
    jpeg = encode_jpeg(picture, 90)
    frames = RenderedFrames(track, dict.fromkeys(map(int, track.frame_index), jpeg), resources)
    for _ in range(2):  # drawn, then from what is kept; then drawn again
        for at in (0, 5, 0):
            frame, camera = frames[at], frames.camera(at, MAP_PX)
            expected = render(resources.rasterizer, frames.surface(at).vertices, resources.body.faces, camera)
            for name in ("face_id", "barycentric", "depth"):
                assert np.array_equal(getattr(frame.surface.raster, name), getattr(expected, name))
            small = cv2.resize(decode_image(jpeg), (MAP_PX, MAP_PX), interpolation=cv2.INTER_AREA)
            assert np.array_equal(frame.picture, small)
        frames.forget_before(float(track.pts_s[3]))
