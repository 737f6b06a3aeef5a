"""How much of a base depth's error is gone over many images, with an interval over the people in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.learned import MIN_GROUPS
from trainer.metrics import DepthErrors

DRAWS = 2000
"""Resamplings of the bootstrap."""
SEED = 6666
_FRAME = re.compile(r"_\d{6}$")
"""How the name of a track's frame ends."""


@dataclass(frozen=True, kw_only=True)
class RecoveredShare:
    """Of one depth, against one base depth."""

    depth: str
    base: str
    share: float
    """1 - sum of the depth's errors / sum of the base's, over images; each after its own offset."""
    low: float
    """Ends of its 95 % interval."""
    high: float
    tracks: int
    """What was resampled: frames of one track are alike."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def sentence(self) -> str:
        """For people."""
        said = (
            f"{self.depth} recovers {100 * self.share:+.1f} % of the error of {self.base} (95 % interval "
            f"{100 * self.low:+.1f} to {100 * self.high:+.1f} over {self.tracks} track{'s' * (self.tracks != 1)})"
        )
        return (
            said if self.tracks >= MIN_GROUPS else f"{said}; too few tracks to tell ({MIN_GROUPS} are needed)"
        )


def recovered_shares(
    errors: Mapping[str, Mapping[str, DepthErrors]], depths: Sequence[str], bases: Sequence[str]
) -> list[RecoveredShare]:
    """For every depth and base that all images know. `errors`: by the name of the image, then by method.

    Error is the mean absolute one after the image's offset, so an image's mean offset recovers none. The interval is
    the bootstrap's percentiles over tracks, which photos are by themselves: the name of an image without its frame.
    """
    tracks = np.unique([_FRAME.sub("", name) for name in errors], return_inverse=True)[1]
    count = int(tracks.max()) + 1
    drawn = np.random.default_rng(SEED).integers(count, size=(DRAWS, count))

    def sums(method: str) -> np.ndarray:
        return np.bincount(tracks, [each[method].mae_mm for each in errors.values()])

    found = []
    for depth, base in ((depth, base) for depth in depths for base in bases):
        if all(depth in each and base in each for each in errors.values()):
            ours, theirs = sums(depth), sums(base)
            shares = 1 - ours[drawn].sum(axis=1) / theirs[drawn].sum(axis=1)
            low, high = (float(end) for end in np.quantile(shares, (0.025, 0.975)))
            share = 1 - float(ours.sum() / theirs.sum())
            found.append(
                RecoveredShare(depth=depth, base=base, share=share, low=low, high=high, tracks=count)
            )
    return found
