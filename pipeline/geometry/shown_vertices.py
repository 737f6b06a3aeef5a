"""What stands behind each vertex of a rendered surface: its share of the pixels, made once for all its references."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Floats, Indices
from pipeline.geometry.estimate_kernel import count_shares, fill_same_side, fill_shares


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownVertices:
    """The n vertices of V that pixels show, and the m faces of F that they belong to."""

    vertex: NDArray[np.int64]
    """(n,) their numbers, increasing."""
    weight: Floats
    """(n,) sums over body pixels of their barycentric weights."""
    total: float
    """The sum of all weights: how many pixels show the body, but for rounding."""
    of_faces: NDArray[np.int64]
    """The numbers of all corners of the faces that are seen: `vertex` and, hardly ever, some without any weight."""
    corners: Indices
    """(m, 3) vertex numbers of the faces that are seen."""
    begin: NDArray[np.int64]
    """(n + 1,) where each vertex' shares begin."""
    share: Floats
    """(3 pixels,) barycentric weights, of each vertex in the order of pixels."""
    share_slot: NDArray[np.int32]
    """(3 pixels,) the face that each is of, a row of `corners`."""

    def same_side(self, target: Floats, reference: Floats) -> Floats:
        """(n,) the part of `weight` whose triangles turn the same side to the reference camera as to the target's.

        Vertices (V, 3) in front of both cameras.
        """
        same_side = np.empty(len(self.vertex))
        fill_same_side(
            target, reference, self.corners, self.begin, self.share, self.share_slot, same_side
        )  # fmt: skip
        return same_side


def shown_vertices(face_id: Indices, barycentric: Floats, faces: Indices, vertex_count: int) -> ShownVertices:
    """Of a raster: face_id (H, W), barycentric (H, W, 3); faces (F, 3)."""
    weight, shares = np.zeros(vertex_count), np.zeros(vertex_count, np.int64)
    slot = np.full(len(faces), -1, np.int32)
    found = count_shares(face_id, barycentric, faces, weight, shares, slot)
    before = np.cumsum(shares) - shares
    share, share_slot = np.empty(int(shares.sum())), np.empty(int(shares.sum()), np.int32)
    fill_shares(face_id, barycentric, faces, slot, before.copy(), share, share_slot)
    seen = np.flatnonzero(weight > 0)  # shares of 0 that others have are added to the vertex before: nothing
    corners = np.empty((found, 3), np.int32)
    corners[slot[slot >= 0]] = faces[slot >= 0]
    return ShownVertices(
        vertex=seen,
        weight=weight[seen],
        total=float(weight.sum()),
        of_faces=np.flatnonzero(shares),
        corners=corners,
        begin=np.append(before[seen], len(share)),
        share=share,
        share_slot=share_slot,
    )
