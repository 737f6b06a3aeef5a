"""Solid textures: colour as a function of the place on the body at rest, so that the surface carries it exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.geometry.array_types import Reals, Singles

PATTERNS = ("plain", "stripes", "checks", "print", "mottled")


class WaveNoise:
    """A smooth random function of space: sines of random directions with wavelengths around one length, sd 1."""

    def __init__(self, rng: np.random.Generator, wavelength_m: float, waves: int = 10) -> None:
        direction = rng.standard_normal((waves, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        wave = 2 * np.pi * direction / (wavelength_m * rng.uniform(0.7, 1.4, (waves, 1)))
        self._wave, self._phase = wave.astype(np.float32), rng.uniform(0, 2 * np.pi, waves).astype(np.float32)

    def __call__(self, points: Reals) -> Singles:
        """(n,) float32 of points (n, 3) metres; single precision, whose sines are ten times faster."""
        waves = np.sin(points.astype(np.float32) @ self._wave.T + self._phase)
        return np.asarray(waves @ np.full(len(self._phase), np.sqrt(2 / len(self._phase)), np.float32))


@dataclass(frozen=True, eq=False)
class Fabric:
    """One material's look."""

    pattern: str
    colour: np.ndarray
    """(3,) linear, in [0, 1]."""
    second: np.ndarray
    """(3,) of stripes, checks and prints."""
    size_m: float
    """Of stripes, checks and prints."""
    angle_rad: float
    coarse: WaveNoise
    fine: WaveNoise
    shine: float
    """Weight of the specular light."""

    @classmethod
    def of(cls, rng: np.random.Generator, *, skin: bool = False, hair: bool = False) -> Fabric:
        """A random material."""
        if skin or hair:
            tone = rng.uniform(0.1, 0.75) if skin else rng.uniform(0.02, 0.35)
            colour = tone * np.array([1.0, 0.68, 0.52] if skin else [1.0, 0.8, 0.6])
            return cls(
                "mottled", colour, 0.9 * colour, 0.02, 0.0, WaveNoise(rng, 0.05), WaveNoise(rng, 0.008), 0.25
            )
        pattern = str(rng.choice(PATTERNS))
        return cls(
            pattern,
            rng.uniform(0.03, 0.8, 3),
            rng.uniform(0.03, 0.8, 3),
            float(rng.uniform(0.02, 0.08)),
            float(rng.uniform(0, np.pi)),
            WaveNoise(rng, 0.12),
            WaveNoise(rng, 0.012),
            float(rng.uniform(0, 0.12)),
        )

    def colours(self, points: Reals) -> Reals:
        """(n, 3) linear colours at places (n, 3) of the body at rest, metres."""
        along = points[:, 1] * np.cos(self.angle_rad) + points[:, 0] * np.sin(self.angle_rad)
        across = points[:, 0] * np.cos(self.angle_rad) - points[:, 1] * np.sin(self.angle_rad)
        coarse, fine = self.coarse(points), self.fine(points)
        if self.pattern == "stripes":
            share = _edge(np.sin(np.pi * along / self.size_m))
        elif self.pattern == "checks":
            share = _edge(np.sin(np.pi * along / self.size_m) * np.sin(np.pi * across / self.size_m))
        elif self.pattern == "print":
            share = _edge(coarse - 0.6)
        else:
            share = 0.15 * (1 + np.tanh(coarse)) if self.pattern == "mottled" else np.zeros(len(points))
        mixed = self.colour + share[:, None] * (self.second - self.colour)
        return np.asarray(np.clip(mixed * (1 + 0.05 * fine + 0.05 * coarse)[:, None], 0.005, 1.0))


def _edge(value: np.ndarray) -> np.ndarray:
    """A step at 0 about as wide as a printed edge."""
    return 0.5 + 0.5 * np.tanh(value / 0.15)
