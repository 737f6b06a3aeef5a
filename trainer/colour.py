"""Random changes of colours, drawn once for a sample."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

HUE = 0.05
SATURATION = (0.7, 1.3)
BRIGHTNESS = 0.05
CONTRAST = (0.8, 1.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourDraw:
    """One change of colours. A target and its references share it, or the photo loss would see a difference.

    Ranges: hue +-.05 of the circle, saturation .7-1.3, brightness +-.05, contrast .8-1.2 (method, section 6).
    """

    hue: float
    """Share of the colour circle."""
    saturation: float
    brightness: float
    contrast: float

    @classmethod
    def of(cls, rng: np.random.Generator) -> ColourDraw:
        """Uniform draws from the ranges."""
        return cls(
            hue=float(rng.uniform(-HUE, HUE)),
            saturation=float(rng.uniform(*SATURATION)),
            brightness=float(rng.uniform(-BRIGHTNESS, BRIGHTNESS)),
            contrast=float(rng.uniform(*CONTRAST)),
        )

    def applied(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """(H, W, 3) float32 RGB in [0, 1], recoloured: hue and saturation, then contrast about 0.5, then brightness."""
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)  # float images: hue in degrees
        hsv[..., 0] = (hsv[..., 0] + 360 * self.hue) % 360
        hsv[..., 1] = np.minimum(hsv[..., 1] * self.saturation, 1)
        rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        recoloured: NDArray[np.float32] = np.clip(
            (rgb - 0.5) * self.contrast + 0.5 + self.brightness, 0, 1
        ).astype(np.float32)
        return recoloured
