"""The dressed shapes of tracks, as the table `surfaces` keeps them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow.compute as pc

from pipeline.records import TrackSurface
from schemas.dataset import Dataset
from schemas.shard import Shard
from schemas.tables import SURFACES


def surfaces_of(dataset: Dataset, tracks: Collection[str]) -> dict[str, TrackSurface]:
    """By track id; tracks that were not refined are missing. Files whose statistics rule them out are not read."""
    wanted, found = pc.field("track_id").isin(sorted(tracks)), {}
    for path in dataset.shards("surfaces"):
        with Shard(SURFACES, path) as shard:
            rows = shard.filtered(["track_id", "vertices"], wanted).to_pylist()
        for row in rows:
            of_vertices = {
                name: np.array([vertex[name] for vertex in row["vertices"]], np.float64)
                for name in ("offset_m", "sigma_m")
            }
            found[row["track_id"]] = TrackSurface(**of_vertices)
    return found
