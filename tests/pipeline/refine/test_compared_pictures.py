"""Pictures laid over each other: closed values, and the compiled pass against OpenCV."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.geometry.camera import Camera
from pipeline.geometry.posed_surface import RenderedSurface
from pipeline.geometry.visibility import PairMaps
from pipeline.records import RenderedFrame
from pipeline.refine.compared_pictures import MARGIN_PX, ComparedPictures, compared_pictures
from pipeline.refine.comparison_kernel import SHOWN, TARGET, TARGET_STEPS, VALID, WARPED, WARPED_STEPS
from schemas.conventions import VALID_ALL, VALID_VISIBLE
from tests.support.pair_maps import maps_of

HW = (60, 80)


def frame(picture: np.ndarray) -> RenderedFrame:
    camera = Camera(np.array([[100.0, 0, 40], [0, 100.0, 30], [0, 0, 1]]), HW)
    surface = RenderedSurface(
        vertices=np.eye(3), faces=np.array([[0, 1, 2]]), camera=camera, face_id=np.full(HW, -1)
    )
    return RenderedFrame(surface=surface, picture=picture.astype(np.uint8))


def maps(validity: np.ndarray, warp_px: np.ndarray) -> PairMaps:
    return maps_of(np.zeros((*HW, 6)), validity, warp_px)


def own_px() -> np.ndarray:
    row, column = np.indices(HW)
    return np.stack([column, row], axis=-1) + 0.5


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*HW, 3))


def readable(pair: PairMaps, target: RenderedFrame, reference: RenderedFrame) -> ComparedPictures:
    """What the compiled pass does, with arrays of the whole picture."""
    colours, sampled = (frame.picture.astype(np.float32) / np.float32(255) for frame in (target, reference))
    source = np.where(pair.visible[..., None], pair.warp_px, 0.0).astype(np.float32) - np.float32(0.5)
    warped = cv2.remap(
        sampled, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    layers = np.zeros((3, *HW))
    for layer, picture, steps in ((TARGET, colours, TARGET_STEPS), (WARPED, warped, WARPED_STEPS)):
        grey = (picture[..., 0] + picture[..., 1] + picture[..., 2]).astype(np.float64) / 3
        layers[layer] = np.where(pair.visible, np.floor(steps * grey + 0.5), 0)
    layers[WARPED] += np.where(pair.visible, SHOWN, 0)
    layers[VALID] = np.where(pair.visible, -1, 0)
    top, left = (int(places.min()) - MARGIN_PX for places in np.divmod(pair.pixel, HW[1]))
    bottom, right = (int(places.max()) + MARGIN_PX + 1 for places in np.divmod(pair.pixel, HW[1]))
    around = np.pad(layers, ((0, 0), (MARGIN_PX, MARGIN_PX), (MARGIN_PX, MARGIN_PX))).astype(np.int16)
    return ComparedPictures(
        layers=around[:, top + MARGIN_PX : bottom + MARGIN_PX, left + MARGIN_PX : right + MARGIN_PX],
        origin=(top, left),
        photo_error=float(np.abs(colours - warped)[pair.valid].mean(dtype=np.float64)),
    )


def test_a_picture_moved_by_whole_pixels_is_found_again() -> None:
    image = 2 * (noise(0) // 4)
    valid = np.zeros(HW, bool)
    valid[10:50, 10:60] = True
    pair = maps(np.where(valid, VALID_ALL, 0), np.where(valid[..., None], own_px() + [4.0, -3.0], np.nan))
    moved = np.roll(image, (-3, 4), axis=(0, 1))
    found = compared_pictures(pair, target=frame(image), reference=frame(moved))
    assert found.photo_error == 0.0
    assert np.array_equal(16 * found.layers[TARGET], found.layers[WARPED] & ~SHOWN)
    assert found.origin == (10 - MARGIN_PX, 10 - MARGIN_PX)
    inside = found.layers[:, MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    assert np.array_equal(inside[VALID], np.full((40, 50), -1))
    assert not found.layers[:, :MARGIN_PX].any()
    lighter = compared_pictures(pair, target=frame(image), reference=frame(moved + 51))
    assert lighter.photo_error == pytest.approx(0.2, abs=1e-6)


def test_only_pixels_with_every_bit_count() -> None:
    target, reference = np.zeros((*HW, 3)), np.zeros((*HW, 3))
    reference[:, 40:] = 255
    validity = np.full(HW, VALID_ALL & ~VALID_VISIBLE)
    pictures = {"target": frame(target), "reference": frame(reference)}
    nothing = compared_pictures(maps(validity, own_px()), **pictures)
    assert nothing.photo_error is None
    assert not nothing.layers.any()
    validity[20, 30], validity[21, 50], validity[22, 51] = VALID_ALL, VALID_ALL, VALID_ALL
    found = compared_pictures(maps(validity, own_px()), **pictures)
    assert found.photo_error == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(5))
def test_the_compiled_pass_is_its_twin_to_the_last_bit(seed: int) -> None:
    """At the border too, where the nearest pixels are repeated."""
    rng = np.random.default_rng(seed)
    pictures = {"target": frame(noise(seed)), "reference": frame(noise(seed + 10))}
    warp = own_px() + rng.normal(scale=6.0, size=(*HW, 2))
    warp = np.clip(warp, 0, [HW[1] - 0.001, HW[0] - 0.001])
    warp[rng.random(HW) < 0.2] = np.nan
    usable = np.isfinite(warp).all(axis=-1)
    bits = np.where(rng.random(HW) < 0.6, VALID_ALL, rng.integers(0, VALID_ALL, HW))
    pair = maps(np.where(usable, bits, bits & ~VALID_VISIBLE), warp)
    found, expected = compared_pictures(pair, **pictures), readable(pair, **pictures)
    np.testing.assert_array_equal(found.layers, expected.layers)
    assert found.origin == expected.origin
    assert found.photo_error == pytest.approx(expected.photo_error, rel=1e-12)
    below = np.where(np.arange(HW[0])[:, None] > 31, pair.validity, 0).astype(np.uint8)
    lower = replace(pair, validity=below)
    expected = readable(lower, **pictures)
    assert compared_pictures(lower, **pictures).photo_error == pytest.approx(expected.photo_error, rel=1e-12)
