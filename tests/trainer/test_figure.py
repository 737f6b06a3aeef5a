"""The picture of a prediction."""

from __future__ import annotations

import numpy as np

from schemas.prediction import Prediction
from trainer.figure import GAP_PX, PANEL_PX, figure

SIDE = 64
WIDTH, BAR = PANEL_PX + 2 * GAP_PX, 56


def drawn(middle_m: float) -> tuple[np.ndarray, np.ndarray]:
    """The panel of offsets and its scale: from 3 cm nearer to 3 cm farther than `middle_m`, top to bottom."""
    base = np.zeros((SIDE, SIDE), np.float32)
    base[8:-8, 8:-8] = 3.0
    offset = np.broadcast_to(np.linspace(-0.03, 0.03, SIDE)[:, None] + middle_m, base.shape)
    depth = np.where(base > 0, base + offset, 0).astype(np.float32)
    K = np.array([[80.0, 0, SIDE / 2], [0, 80.0, SIDE / 2], [0, 0, 1]])
    picture = figure(Prediction(depth_m=depth, base_depth_m=base, K=K), np.zeros((SIDE, SIDE, 3), np.float32))
    first = 3 * WIDTH + BAR
    return picture[:, first : first + WIDTH], picture[:, first + WIDTH : first + WIDTH + BAR]


def test_offsets_about_a_constant_beyond_the_scale_are_shown_about_it() -> None:
    panel, scale = drawn(0.0)
    moved, its_scale = drawn(-0.13)
    np.testing.assert_allclose(moved.astype(int), panel, atol=2)  # float32 depths
    assert len(np.unique(moved.reshape(-1, 3), axis=0)) > 30
    assert (its_scale != scale).any()  # "-8" and "-18" in place of "5" and "-5"


def test_a_constant_that_the_scale_holds_is_seen_as_one() -> None:
    panel, scale = drawn(0.0)
    moved, its_scale = drawn(0.04)
    np.testing.assert_array_equal(its_scale, scale)
    centre = np.s_[24 + PANEL_PX // 2, GAP_PX + PANEL_PX // 2]
    assert moved[centre][0] > moved[centre][2] + 50  # red: farther
    assert int(np.ptp(panel[centre].astype(int))) < 12  # grey: nothing
