"""Whether a network learned anything beyond a constant: its depth against its own mean, with an interval.

Bodies that are measured to turn too far are explained by a surface nearer to their axis, so one offset for the whole
body lowers the photometric error too. Only what a sample's offset does beyond its own mean is shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from trainer.objective import SampleErrors

DRAWS = 2000
"""Resamplings of the bootstrap."""
INTERVAL = (0.025, 0.975)
MIN_GROUPS = 5
"""Sources or tracks that an interval needs: of fewer, all may gain by chance (of two, in every fourth case)."""
CONSTANT_M = 5e-4
"""Mean |offset - its mean| below which the offset is one constant for all that anybody can tell."""

GroupedBy = Literal["source", "track", "sample"]


@dataclass(frozen=True, kw_only=True)
class Learned:
    """Photometric errors of held-out samples, and how sure it is that shape was learned."""

    base_photo_error: float
    constant_photo_error: float
    photo_error: float
    beyond_constant: float
    """1 - refined / constant: the share of the error that is gone beyond what each sample's mean offset takes away."""
    low: float
    """Ends of its 95 % interval."""
    high: float
    groups: int
    """Sources (or what there is) that were resampled."""
    grouped_by: GroupedBy
    samples: int
    offset_spread_m: float
    """Mean |offset - its mean|."""

    @property
    def is_shown(self) -> bool:
        """Whether the interval lies above zero, over enough people."""
        return self.low > 0 and self.is_enough

    @property
    def is_enough(self) -> bool:
        """Whether enough sources or tracks are held out to tell: frames of one track are too much alike."""
        return self.groups >= MIN_GROUPS and self.grouped_by != "sample"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and JSON."""
        return asdict(self) | {"is_shown": self.is_shown}

    def sentence(self) -> str:
        """For people."""
        groups = f"{self.groups} {self.grouped_by}{'s' if self.groups != 1 else ''}"
        said = (
            f"beyond a constant: {-100 * self.beyond_constant:+.1f} % of the photometric error on {self.samples} "
            f"held-out samples (95 % interval {-100 * self.high:+.1f} to {-100 * self.low:+.1f} over {groups})"
        )
        if self.is_shown:
            return said
        if self.low > 0:
            return f"{said}; too few people are held out to tell ({MIN_GROUPS} sources or tracks are needed)"
        flat = f": the offset is one constant (spread {1000 * self.offset_spread_m:.2f} mm)"
        return f"{said}; no shape was learned that shows{flat if self.offset_spread_m < CONSTANT_M else ''}"


def learned_from(
    errors: Sequence[SampleErrors], keys: Mapping[str, tuple[str, str]], *, seed: int
) -> Learned | None:
    """What samples say; None without one that has a pixel that counts. `keys`: source and track, by a sample's id.

    With e the samples' summed errors over references, share = 1 - sum e_refined / sum e_constant. The interval is the
    bootstrap's percentiles over sources; over tracks where those are fewer than MIN_GROUPS; over samples where both
    are, which is too narrow to show anything: frames of a track are alike.
    """
    errors = [each for each in errors if each.references]
    if not errors:
        return None
    grouped_by, names = _groups([keys.get(each.sample_id, ("", "")) for each in errors])
    sums = np.array([[each.base, each.constant, each.refined] for each in errors])
    count = sum(each.references for each in errors)
    base, constant, refined = sums.sum(axis=0)
    number = np.unique(names, return_inverse=True)[1]
    by_group = np.stack([np.bincount(number, column) for column in sums.T[1:]], axis=1)
    drawn = np.random.default_rng(seed).integers(len(by_group), size=(DRAWS, len(by_group)))
    shares = _share(*np.moveaxis(by_group[drawn].sum(axis=1), -1, 0))
    low, high = np.quantile(shares, INTERVAL)
    return Learned(
        base_photo_error=float(base / count),
        constant_photo_error=float(constant / count),
        photo_error=float(refined / count),
        beyond_constant=float(_share(constant, refined)),
        low=float(low),
        high=float(high),
        groups=len(by_group),
        grouped_by=grouped_by,
        samples=len(errors),
        offset_spread_m=float(np.mean([each.offset_spread_m for each in errors])),
    )


def _share(constant: np.ndarray, refined: np.ndarray) -> np.ndarray:
    return np.asarray(1 - refined / np.maximum(constant, 1e-12))


def _groups(keys: list[tuple[str, str]]) -> tuple[GroupedBy, list[str]]:
    """What is resampled: the coarsest of which there are enough."""
    sources, tracks = [source for source, _ in keys], [track for _, track in keys]
    if len(set(sources)) >= MIN_GROUPS:
        return "source", sources
    if len(set(tracks)) >= MIN_GROUPS:
        return "track", tracks
    return "sample", [str(at) for at in range(len(keys))]
