"""What the landmark network says of one crop, and what it says of the crop's mirror image.

The network is not the same under mirrors: on rendered people the two looks differ by half of their error in depth.
Their mean has 15 % of the limbs' signs of depth wrong where either look has 16 to 19.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from pipeline.tracking.landmark_twins import mirror_permutation
from schemas.conventions import LANDMARK_COUNT


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """What the landmark network says of one crop, in the crop's own axes."""

    xy: np.ndarray
    """(39, 2) pixels of the crop; the last six are auxiliary."""
    visibility: np.ndarray
    """(33,)."""
    presence: np.ndarray
    """(33,)."""
    world_m: np.ndarray
    """(33, 3)."""
    score: float
    person: np.ndarray
    """(S, S) probability that a pixel shows the person."""


def mirrored_look(look: Look) -> Look:
    """What a look at the mirrored crop says of the crop: u -> S - u, x -> -x, left and right exchanged."""
    twin = mirror_permutation()
    return Look(
        xy=look.xy[np.append(twin, np.arange(LANDMARK_COUNT, len(look.xy)))] * [-1, 1]
        + [look.person.shape[1], 0],
        visibility=look.visibility[twin],
        presence=look.presence[twin],
        world_m=look.world_m[twin] * [-1, 1, 1],
        score=look.score,
        person=look.person[:, ::-1],
    )


def mean_look(a: Look, b: Look) -> Look:
    """The mean of two looks at one crop, of everything."""
    return Look(**{each.name: (getattr(a, each.name) + getattr(b, each.name)) / 2 for each in fields(Look)})
