"""Parts of pictures are those of whole pictures, bit for bit: stored in any way, turned in any way."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame

from pipeline.video.crops import crop_image, crop_part, needed_box
from pipeline.video.picture_parts import Box, PicturePart
from pipeline.video.upright import Turn, upright_part, upright_rgb, upright_size

FILE = Path("film.mp4")
TURNS = [Turn(*each) for each in itertools.product((False, True), repeat=3)]


def noise(height: int, width: int, kind: str) -> VideoFrame:
    """A picture in whose every pixel and colour something else is shown."""
    picture = VideoFrame(width, height, kind)
    rng = np.random.default_rng(3)
    for plane in picture.planes:
        plane.update(rng.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
    return picture


def boxes(hw: tuple[int, int]) -> list[Box]:
    """Some inside, some at borders, one of a pixel, one outside."""
    height, width = hw
    rng, found = np.random.default_rng(1), [Box(0, height, 0, width), Box(5, 6, 7, 8), Box(9, 9, 4, 20)]
    for _ in range(12):
        top, left = rng.integers(0, height - 8), rng.integers(0, width - 8)
        bottom, right = rng.integers(top + 1, height + 1), rng.integers(left + 1, width + 1)
        found.append(Box(int(top), int(bottom), int(left), int(right)))
    return found


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("size", [(114, 230), (114, 231), (115, 230)])
@pytest.mark.parametrize("kind", ["yuv420p", "yuvj420p"])
def test_parts_are_those_of_the_whole_picture(turn: Turn, size: tuple[int, int], kind: str) -> None:
    picture = noise(*size, kind)
    whole = upright_rgb(picture, turn, None, None, FILE)
    assert whole.shape[:2] == upright_size(picture, turn, None)
    cut = 0
    for box in boxes(whole.shape[:2]):
        part = upright_part(picture, turn, None, box, FILE)
        assert part.picture_hw == whole.shape[:2]
        np.testing.assert_array_equal(part.image, PicturePart.whole(whole)[part.box])
        if not box.is_empty:
            np.testing.assert_array_equal(part[box], PicturePart.whole(whole)[box])
        cut += part.image.size < whole.size
    assert cut >= 8 or size != (114, 230)


@pytest.mark.parametrize(
    ("kind", "aspect"), [("yuv444p", None), ("rgb24", None), ("yuv420p", Fraction(4, 3))]
)
def test_other_pictures_are_cut_afterwards(kind: str, aspect: Fraction | None) -> None:
    picture, turn = noise(64, 80, kind), Turn(True, False, True)
    part = upright_part(picture, turn, aspect, Box(3, 9, 5, 30), FILE)
    np.testing.assert_array_equal(part.image, upright_rgb(picture, turn, aspect, None, FILE))
    assert part.picture_hw == upright_size(picture, turn, aspect)


def test_a_crop_of_its_needed_part_is_that_of_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    rng = np.random.default_rng(2)
    for _ in range(20):
        crop_px = np.array([rng.uniform(-50, 450), rng.uniform(-50, 350), rng.uniform(20, 500)])
        box = needed_box((300, 400), crop_px, 96)
        part = PicturePart(PicturePart.whole(image)[box].copy(), box, (300, 400))
        np.testing.assert_array_equal(crop_part(part, crop_px, 96), crop_image(image, crop_px, 96))
    assert needed_box((300, 400), np.array([-500.0, 50, 100]), 96).is_empty
