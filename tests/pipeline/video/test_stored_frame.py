"""Frames that become RGB where they are looked at show what frames that are RGB at once do, bit for bit."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline.video.decode import decode, decode_stored
from pipeline.video.picture_parts import PicturePart
from pipeline.video.stored_frame import Canvas, StoredFrame
from pipeline.video.upright import Turn, upright_part, upright_rgb, upright_size
from tests.pipeline.video.test_picture_parts import FILE, TURNS, boxes, noise
from tests.support.clips import counting_frames, even_times, write_clip


def stored(index: int, kind: str, turn: Turn, canvas: Canvas) -> tuple[StoredFrame, np.ndarray]:
    """A frame of noise, and its whole picture."""
    picture = noise(114 + 2 * index, 230, kind)
    frame = StoredFrame(
        index=index,
        pts_s=0.0,
        hw=upright_size(picture, turn, None),
        part_of=partial(upright_part, picture, turn, None, file=FILE),
        canvas=canvas,
    )
    return frame, upright_rgb(picture, turn, None, None, FILE)


@pytest.mark.parametrize("kind", ["yuv420p", "yuv444p"])
def test_where_it_is_looked_at_a_frame_shows_its_picture(kind: str) -> None:
    canvas = Canvas()
    for turn, index in itertools.product(TURNS, (0, 1)):  # of two sizes, on one canvas
        frame, whole = stored(index, kind, turn, canvas)
        assert frame.hw == whole.shape[:2]
        for box in reversed(boxes(frame.hw)):  # the whole one last: from then on nothing is cut
            rows, columns = slice(box.top, box.bottom), slice(box.left, box.right)
            shown = frame.showing(rows, columns)
            assert shown.shape == whole.shape
            np.testing.assert_array_equal(shown[rows, columns], PicturePart.whole(whole)[box])
        np.testing.assert_array_equal(frame.image, whole)
        assert frame.image is frame.image is frame.showing(slice(3, 5), slice(3, 9))


def test_a_film_is_read_as_frames_that_are_rgb_at_once(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "film.mp4", counting_frames(), even_times(12))
    window = {"start_s": 0.1, "end_s": 0.35, "sample_fps": 15.0}
    whole, parts = list(decode(path, **window)), list(decode_stored(path, **window))
    assert len(whole) > 2
    assert [(each.index, each.pts_s) for each in whole] == [(each.index, each.pts_s) for each in parts]
    for one, other in zip(whole, parts):
        assert one.hw == other.hw
        np.testing.assert_array_equal(one.showing(slice(7, 20), slice(9, 30)), one.image)
        np.testing.assert_array_equal(one.image, other.image)  # after all were read: each holds its own
