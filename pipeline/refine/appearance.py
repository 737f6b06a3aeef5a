"""What surface points show in each frame, without what light does, and how frames differ in it."""

from __future__ import annotations

import numpy as np

from pipeline.body.skinning import JointTransforms
from pipeline.config import RefineSettings
from pipeline.refine.alignment_kernels import blend_appearance, sample_picture, subtract_field
from pipeline.refine.pictures import TONE, LevelPicture
from pipeline.refine.robust import ROBUST_SIGMAS
from pipeline.refine.static_lighting import fitted_lighting, lighting_basis
from pipeline.refine.static_lighting_kernels import COEFFICIENTS, subtract_lighting
from pipeline.refine.surface_points import RestSurface
from pipeline.refine.track_frames import TrackFrames
from pipeline.refine.visibility import Visibility

CHANNELS = 3
MIN_SUPPORT = 0.5
"""A point counts in a frame when the weights of the other frames that see it reach this."""
BIAS_PRIOR = 2.0
"""Samples' worth of weight that pulls a node's bias to zero in each iteration."""
LIGHTING_STRIDE = 8
"""One point in so many tells of the lighting: some 700 a frame, for eight coefficients a track."""


class Appearance:
    """Logarithms of colours at the points, less the static lighting of the track and a slow bias of each frame."""

    def __init__(
        self, surface: RestSurface, frames: TrackFrames, visibility: Visibility, settings: RefineSettings
    ) -> None:
        self._surface, self._visibility, self._settings = surface, visibility, settings
        self._neighbours = frames.neighbours
        self._neighbour = [np.flatnonzero(row) for row in frames.neighbours]
        self._neighbour_weight = [row[row > 0] for row in frames.neighbours]
        count, points = len(frames), surface.count
        self.lighting = np.zeros((COEFFICIENTS, CHANNELS))
        self.bias = np.zeros((count, surface.points.node_count, CHANNELS), np.float32)
        """(T, K, C), at the nodes."""
        self._value = np.zeros((count, points, CHANNELS), np.float32)
        self._normal_slope = np.zeros((count, points, CHANNELS), np.float32)
        """(T, Q, C): derivatives of values by the distance of the dressed surface, per metre."""

    def sample(
        self, picture: LevelPicture, placed: JointTransforms, at: int, dressed: np.ndarray
    ) -> np.ndarray:
        """Takes a frame's values at points of the dressed rest shape (Q, 3); returns their slopes (Q, C, 3) per m."""
        point, normal = self._surface.posed(dressed, placed, at)
        slope = np.zeros((len(point), CHANNELS, 3), np.float32)
        sample_picture(
            picture.picture, TONE, point, normal, self._visibility.weight[at], picture.lens,
            self._value[at], slope, self._normal_slope[at],
        )  # fmt: skip
        self.subtract(self.bias[at], self._value[at])
        subtract_lighting(normal, self._visibility.weight[at], self.lighting, self._value[at])
        return slope

    def compare(self, at: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Residuals V - A (Q, C), their slopes by the offset (Q, C), and how much each point counts (Q,)."""
        settings, seen = self._settings, self._visibility.weight
        mean, mean_slope = np.empty_like(self._value[at]), np.empty_like(self._value[at])
        support = np.empty(self._surface.count)
        blend_appearance(
            self._value, self._normal_slope, seen, at, self._neighbour[at], self._neighbour_weight[at],
            ROBUST_SIGMAS * settings.colour_sigma if settings.mode == "pairs" else 0.0,
            mean, mean_slope, support,
        )  # fmt: skip
        counted = np.where(support > MIN_SUPPORT, seen[at], 0.0)
        return self._value[at] - mean, self._normal_slope[at] - mean_slope, counted

    def node_bias(self, residual: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """(K, C) the weighted mean residual around each node, drawn to zero where little is seen."""
        points = self._surface.points
        node, share = points.node.ravel(), (counted[:, None] * points.node_weight)
        total = np.bincount(node, share.ravel(), points.node_count) + BIAS_PRIOR
        sums = [
            np.bincount(node, (share * residual[:, channel, None]).ravel(), points.node_count)
            for channel in range(CHANNELS)
        ]
        return (np.stack(sums, axis=1) / total[:, None]).astype(np.float32)

    def subtract(self, nodes: np.ndarray, values: np.ndarray) -> None:
        """Takes a field given at nodes (K, C) from values at points (Q, C)."""
        subtract_field(self._surface.points.node, self._surface.points.node_weight, nodes, values)

    def update_lighting(self, placed: JointTransforms) -> None:
        """Adds to the static lighting what explains the values after subtracting the current estimate."""
        few = np.s_[::LIGHTING_STRIDE]
        self.lighting += fitted_lighting(
            lighting_basis(self._surface, placed, few),
            self._value[:, few],
            self._visibility.weight[:, few],
            self._neighbours,
            min_support=MIN_SUPPORT,
            least_sigma=self._settings.colour_sigma,
            sample_weight=LIGHTING_STRIDE * self._settings.picture_weight,
        )
