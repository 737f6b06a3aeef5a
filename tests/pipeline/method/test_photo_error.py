"""The photometric error: closed values, and the compiled passes against arrays."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.geometry.camera import Camera
from pipeline.geometry.motion import PairStatistics
from pipeline.geometry.posed_surface import RenderedSurface
from pipeline.geometry.visibility import PairMaps
from pipeline.method.photo_error import photo_error
from pipeline.records import RenderedFrame
from schemas.conventions import VALID_ALL, VALID_VISIBLE

HW = (60, 80)


def frame(image: np.ndarray) -> RenderedFrame:
    camera = Camera(np.array([[100.0, 0, 40], [0, 100.0, 30], [0, 0, 1]]), HW)
    surface = RenderedSurface(
        vertices=np.eye(3), faces=np.array([[0, 1, 2]]), camera=camera, face_id=np.full(HW, -1)
    )
    return RenderedFrame(surface=surface, image=image.astype(np.float32))


def maps(validity: np.ndarray, warp_px: np.ndarray) -> PairMaps:
    nothing = PairStatistics(**dict.fromkeys(PairStatistics.__dataclass_fields__, 0.0))
    motion, baseline = np.zeros((*HW, 6), np.float16), np.zeros(HW, np.float32)
    return PairMaps(motion, validity.astype(np.uint8), baseline, warp_px.astype(np.float32), nothing)


def own_px() -> np.ndarray:
    row, column = np.indices(HW)
    return np.stack([column, row], axis=-1) + 0.5


def readable(pair: PairMaps, target: RenderedFrame, reference: RenderedFrame) -> float:
    """What the compiled passes do, with arrays of the whole picture."""
    source = np.where(pair.valid[..., None], pair.warp_px, 0.0).astype(np.float32) - np.float32(0.5)
    warped = cv2.remap(
        reference.image, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return float(np.abs(target.image - warped)[pair.valid].mean(dtype=np.float64))


def test_a_picture_moved_by_whole_pixels_is_found_again() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((*HW, 3))
    valid = np.zeros(HW, bool)
    valid[10:50, 10:60] = True
    pair = maps(np.where(valid, VALID_ALL, 0), own_px() + [4.0, -3.0])
    moved = np.roll(image, (-3, 4), axis=(0, 1))
    assert photo_error(pair, target=frame(image), reference=frame(moved)) == 0.0
    lighter = photo_error(pair, target=frame(0.5 * image), reference=frame(0.5 * moved + 0.25))
    assert lighter == pytest.approx(0.25, abs=1e-6)


def test_only_pixels_with_every_bit_count() -> None:
    target, reference = np.zeros((*HW, 3)), np.zeros((*HW, 3))
    reference[:, 40:] = 1.0
    validity = np.full(HW, VALID_ALL & ~VALID_VISIBLE)
    assert photo_error(maps(validity, own_px()), target=frame(target), reference=frame(reference)) is None
    validity[20, 30], validity[21, 50], validity[22, 51] = VALID_ALL, VALID_ALL, VALID_ALL
    found = photo_error(maps(validity, own_px()), target=frame(target), reference=frame(reference))
    assert found == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(5))
def test_the_compiled_passes_are_their_twin_to_the_last_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target, reference = (frame(rng.random((*HW, 3))) for _ in range(2))
    warp = own_px() + rng.normal(scale=6.0, size=(*HW, 2))
    warp[rng.random(HW) < 0.2] = np.nan
    usable = np.isfinite(warp).all(axis=-1)
    pair = maps(np.where(usable & (rng.random(HW) < 0.6), VALID_ALL, rng.integers(0, VALID_ALL, HW)), warp)
    assert photo_error(pair, target=target, reference=reference) == readable(pair, target, reference)
    lower = replace(
        pair, validity=np.where(np.arange(HW[0])[:, None] > 31, pair.validity, 0).astype(np.uint8)
    )
    assert photo_error(lower, target=target, reference=reference) == readable(lower, target, reference)
