"""One picture that shows a prediction: photo, base and refined depth, their difference, both normals.

Drawn with OpenCV: matplotlib took half a second for each, longer than the prediction itself.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.prediction import Prediction
from trainer.surfaces import normals

PANEL_PX = 256
TITLE_PX = 24
GAP_PX = 8
SHOWN_OFFSET_M = 0.05
_TITLES = (
    "photo",
    "base depth",
    "refined depth (m)",
    "refined - base (cm)",
    "base normals",
    "refined normals",
)


def figure(prediction: Prediction, image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB; image (h, w, 3) float32 RGB in [0, 1] of the prediction's size.

    Depth from the 1st to the 99th percentile of the base, yellow nearest; offsets within 5 cm of nothing, or of their
    median where that itself lies beyond, blue nearer, red farther. White is background.
    """
    base, depth, K = prediction.base_depth_m, prediction.depth_m, prediction.K
    mask = depth > 0
    low, high = np.percentile(base[mask], [1, 99]) if mask.any() else (0.0, 1.0)
    near = [(high - values) / max(high - low, 1e-6) for values in (base, depth)]
    middle_cm = _middle_cm((depth - base)[mask])
    offset = (depth - base - 0.01 * middle_cm) / SHOWN_OFFSET_M
    panels = [
        np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8),
        _coloured(near[0], mask),
        _coloured(near[1], mask),
        _blue_to_red(offset, mask),
        *(_normal_colours(normals(values, K)) for values in (base, depth)),
    ]
    bars = {
        2: (_coloured(_ramp(), np.ones((PANEL_PX, 1), bool)), f"{low:.2f}", f"{high:.2f}"),
        3: (
            _blue_to_red(2 * _ramp() - 1, np.ones((PANEL_PX, 1), bool)),
            f"{middle_cm + 100 * SHOWN_OFFSET_M:.0f}",
            f"{middle_cm - 100 * SHOWN_OFFSET_M:.0f}",
        ),
    }
    drawn = []
    for at, (title, panel) in enumerate(zip(_TITLES, panels, strict=True)):
        drawn.append(_titled(title, _fitted(panel)))
        if at in bars:
            drawn.append(_bar(*bars[at]))
    return np.concatenate(drawn, axis=1)


def _middle_cm(offset_m: NDArray[np.floating]) -> float:
    """The middle of the scale of offsets: 0, or their median in whole centimetres where no colour would show it."""
    middle_m = float(np.median(offset_m)) if offset_m.size else 0.0
    return round(100 * middle_m) if abs(middle_m) > SHOWN_OFFSET_M else 0.0


def _ramp() -> NDArray[np.float64]:
    """(PANEL_PX, 1): 1 at the top, 0 at the bottom."""
    return np.linspace(1, 0, PANEL_PX)[:, None]


def _coloured(values: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    levels = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[..., ::-1]
    return np.where(mask[..., None], colours, 255).astype(np.uint8)


def _blue_to_red(values: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Blue at -1, light grey at 0, red at 1."""
    far, near = np.clip(values, 0, 1)[..., None], np.clip(-values, 0, 1)[..., None]
    colours = 230 + far * (np.array([178, 24, 43]) - 230) + near * (np.array([33, 102, 172]) - 230)
    return np.where(mask[..., None], np.rint(colours), 255).astype(np.uint8)


def _normal_colours(normal: NDArray[np.floating]) -> NDArray[np.uint8]:
    seen = normal.any(axis=-1, keepdims=True)
    colours = np.rint(255 * (0.5 + 0.5 * normal * [1, -1, -1]))
    return np.where(seen, np.clip(colours, 0, 255), 255).astype(np.uint8)


def _fitted(panel: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The panel at PANEL_PX, wider than high or not, in a white square."""
    height, width = panel.shape[:2]
    scale = PANEL_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    fitted = cv2.resize(np.ascontiguousarray(panel), size, interpolation=cv2.INTER_AREA)
    square = np.full((PANEL_PX, PANEL_PX, 3), 255, np.uint8)
    top, left = (PANEL_PX - size[1]) // 2, (PANEL_PX - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = fitted
    return square


def _titled(title: str, panel: NDArray[np.uint8]) -> NDArray[np.uint8]:
    framed = cv2.copyMakeBorder(
        panel, TITLE_PX, GAP_PX, GAP_PX, GAP_PX, cv2.BORDER_CONSTANT, value=(255,) * 3
    )
    return _written(framed, title, (GAP_PX, TITLE_PX - 8))


def _bar(colours: NDArray[np.uint8], top: str, bottom: str) -> NDArray[np.uint8]:
    """A scale with what its ends stand for."""
    bar = np.full((PANEL_PX + TITLE_PX + GAP_PX, 56, 3), 255, np.uint8)
    bar[TITLE_PX : TITLE_PX + PANEL_PX, :10] = colours
    for text, row in ((top, TITLE_PX + 10), (bottom, TITLE_PX + PANEL_PX - 2)):
        bar = _written(bar, text, (13, row))
    return bar


def _written(image: NDArray[np.uint8], text: str, place: tuple[int, int]) -> NDArray[np.uint8]:
    image = np.ascontiguousarray(image)
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA)
    return image
