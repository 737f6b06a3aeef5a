"""Pictures that wait for their frame: the same as decoded again, within what memory they may take."""

from __future__ import annotations

import numpy as np

from pipeline.method.map_pictures import MapPictures, map_picture
from schemas.conventions import IMAGE_PX, MAP_PX


def _crops(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(5).integers(0, 256, (count, IMAGE_PX, IMAGE_PX, 3), np.uint8))


def test_a_picture_is_the_mean_of_four_pixels() -> None:
    (crop,) = _crops(1)
    blocks = crop.reshape(MAP_PX, 2, MAP_PX, 2, 3).astype(float).mean(axis=(1, 3))
    np.testing.assert_allclose(map_picture(crop), blocks, atol=0.5)


def test_pictures_are_kept_while_there_is_room_and_taken_once() -> None:
    crops, pictures = _crops(3), MapPictures(2 * 3 * MAP_PX**2 + 5)
    for person, crop in enumerate(crops):
        pictures.keep(person, 7, crop)
    assert pictures.take(0, 8) is None
    assert pictures.take(2, 7) is None, "there was no room for it"
    np.testing.assert_array_equal(pictures.take(1, 7), map_picture(crops[1]))
    assert pictures.take(1, 7) is None
    pictures.keep(0, 7, crops[2])
    pictures.keep(2, 7, crops[2])
    np.testing.assert_array_equal(
        pictures.take(2, 7), map_picture(crops[2]), "the room of the one that was taken"
    )
    np.testing.assert_array_equal(pictures.take(0, 7), map_picture(crops[0]), "kept at first")
