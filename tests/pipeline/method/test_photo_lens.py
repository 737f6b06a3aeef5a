"""A photo of a rendered person: the focal length that is given, that its EXIF states, and that is estimated."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.body.model import BodyModel
from pipeline.config import Settings
from pipeline.method.picture_bodies import PhotoBody, PictureBodies
from pipeline.video.equivalent import lens_of_equivalent
from schemas.conventions import IMAGE_PX
from schemas.errors import NobodyFoundError
from schemas.settings import with_overrides
from tests.support.rendered_people import rendered, walking
from tests.support.stated_lenses import exif, jpeg_with


def focal_px(body: PhotoBody) -> float:
    """Of the whole picture."""
    return float(body.K[0, 0] * body.crop_px[2] / IMAGE_PX)


def test_a_photo_is_seen_through_its_own_lens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    picture = next(iter(rendered(BodyModel.open_body(), walking(turn_deg=20, seconds=1 / 30)))).image
    stored = cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()
    path = tmp_path / "photo.jpg"
    finder = PictureBodies(
        with_overrides(Settings(), ["tracking.iterations=[2,2]", "rendering.rasterizer=compiled"])
    )
    path.write_bytes(jpeg_with(stored, exif({0xA405: (3, struct.pack("<H", 35))})))
    expected = lens_of_equivalent(35, picture.shape[:2]).focal_px
    (stated,) = finder.of_photo(picture, file=path)
    assert focal_px(stated) == pytest.approx(expected)
    (given,) = finder.of_photo(picture, file=path, focal_px=900.0)
    assert focal_px(given) == pytest.approx(900)
    # the same crop through a longer lens: the same picture, farther away
    depths = [float(np.median(body.base_depth[body.base_depth > 0])) for body in (stated, given)]
    assert depths[1] / depths[0] == pytest.approx(900 / expected, rel=0.1)

    path.write_bytes(jpeg_with(stored, exif({0xA405: (3, struct.pack("<H", 65535))})))
    with caplog.at_level(logging.WARNING):
        (absurd,) = finder.of_photo(picture, file=path)
    assert "states a lens that cannot be: 65535 mm" in caplog.text
    (unknown,) = finder.of_photo(picture)
    assert focal_px(absurd) == focal_px(unknown)


def test_a_photo_that_is_to_be_dressed_says_once_that_it_is_not(caplog: pytest.LogCaptureFixture) -> None:
    finder = PictureBodies(with_overrides(Settings(), ["rendering.base_surface=dressed"]))
    for _ in range(2):
        with pytest.raises(NobodyFoundError):
            finder.of_photo(np.zeros((64, 64, 3), np.uint8))
    assert caplog.text.count("a photo has no dressed shape") == 1
