"""What surface points show in each frame, without what light does, and how frames differ in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.body.skinning import JointTransforms
from pipeline.config import RefineSettings
from pipeline.refine.appearance_kernels import blend_frames, compare_frame
from pipeline.refine.pictures import TONE, LevelPicture
from pipeline.refine.point_kernels import show_points
from pipeline.refine.robust import ROBUST_SIGMAS
from pipeline.refine.shared_offset import OffsetSystem
from pipeline.refine.static_lighting import fitted_lighting, lighting_basis
from pipeline.refine.static_lighting_kernels import COEFFICIENTS
from pipeline.refine.track_frames import TrackFrames
from pipeline.refine.visibility import Visibility

CHANNELS = 3
MIN_SUPPORT = 0.5 - 1e-6
"""A point counts in a frame when the weights of the other frames that see it reach a half. Raised cosines of evenly
spaced frames add up to it exactly; which side of it rounding falls on may not decide."""
BIAS_PRIOR = 2.0
"""Samples' worth of weight that pulls a node's bias to zero in each iteration."""
LIGHTING_STRIDE = 8
"""One point in so many tells of the lighting: some 700 a frame, for eight coefficients a track."""
GROUP = 16
"""Frames whose neighbours are blended together: 2.7 MB of means."""


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """How one frame differs from what the frames around it show."""

    residual: np.ndarray
    """(C, Q) differences of values, less the bias; nothing where the weight is 0."""
    weight: np.ndarray
    """(C, Q) of squared residuals."""
    bias: np.ndarray
    """(K, C) what a slow field explains."""


class Appearance:
    """Logarithms of colours at the points, less the static lighting of the track and a slow bias of each frame."""

    def __init__(
        self, frames: TrackFrames, visibility: Visibility, node_count: int, settings: RefineSettings
    ) -> None:
        self._visibility, self._settings = visibility, settings
        self._neighbours = frames.neighbours.astype(np.float32)
        self.lighting = np.zeros((COEFFICIENTS, CHANNELS))
        self.bias = np.zeros((len(frames), node_count, CHANNELS), np.float32)
        """(T, K, C), at the nodes."""
        self._shown = np.zeros((len(frames), 2 * CHANNELS, 0), np.float32)
        """(T, 2 C, Q): values, and their derivatives by the distance of the dressed surface, per metre."""

    def sample(self, at: int, picture: LevelPicture, placed: JointTransforms, dressed: np.ndarray) -> None:
        """Takes a frame's values at points of the dressed rest shape (Q, 3)."""
        if self._shown.shape[2] != len(dressed):
            self._shown = np.zeros((*self._shown.shape[:2], len(dressed)), np.float32)
        surface, shown = self._visibility.surface, self._shown[at]
        points = surface.points
        show_points(
            dressed, surface.normal, points.joint, points.weight, placed.rotation[at], placed.offset[at],
            picture.picture, TONE, picture.lens, points.node, points.node_weight,
            self.bias[at], self.lighting, self._visibility.weight[at], shown[:CHANNELS], shown[CHANNELS:],
        )  # fmt: skip

    def differences(self, offset: OffsetSystem) -> Iterator[Difference]:
        """Every frame against the mean of its neighbours, in order; slopes by the offset are added to its system."""
        count, _, points = self._shown.shape
        mean = np.empty((GROUP, 2 * CHANNELS, points), np.float32)
        support = np.empty((GROUP, points), np.float32)
        settings, seen = self._settings, self._visibility.weight
        scale = ROBUST_SIGMAS * settings.colour_sigma if settings.mode == "pairs" else 0.0
        for first in range(0, count, GROUP):
            frames = range(first, min(first + GROUP, count))
            blend_frames(self._shown, seen, self._neighbours, first, scale, mean[: len(frames)], support)
            for at in frames:
                counted = np.where(support[at - first] > MIN_SUPPORT, seen[at], np.float32(0))
                yield self._difference(at, mean[at - first], counted, offset)

    def _difference(self, at: int, mean: np.ndarray, counted: np.ndarray, offset: OffsetSystem) -> Difference:
        settings, points = self._settings, self._visibility.surface.points
        bias = np.empty((points.node_count, CHANNELS))
        residual, weight = np.empty((2, CHANNELS, len(counted)))
        compare_frame(
            self._shown[at], mean, counted, points.node, points.node_weight,
            BIAS_PRIOR, settings.colour_sigma, self._visibility.stride * settings.picture_weight,
            bias, residual, weight, offset.square, offset.product,
        )  # fmt: skip
        return Difference(residual, weight, bias)

    def update_lighting(self, placed: JointTransforms) -> None:
        """Adds to the static lighting what explains the values after subtracting the current estimate."""
        few = np.s_[:: max(1, LIGHTING_STRIDE // self._visibility.stride)]
        self.lighting += fitted_lighting(
            lighting_basis(self._visibility.surface, placed, few),
            np.ascontiguousarray(self._shown[:, :CHANNELS, few].swapaxes(1, 2)),
            self._visibility.weight[:, few],
            self._neighbours,
            min_support=MIN_SUPPORT,
            least_sigma=self._settings.colour_sigma,
            sample_weight=LIGHTING_STRIDE * self._settings.picture_weight,
        )
