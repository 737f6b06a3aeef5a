"""A run's bill by arithmetic: core hours of every stage, bytes, requests to an object store, and a price.

Everything is linear in frames, but for requests, which are linear in clips and units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

STAGE_SHARES = {
    "cut": 0.034,
    "track": 0.374,
    "fit": 0.070,
    "crop": 0.060,
    "refine": 0.115,
    "render": 0.341,
    "write": 0.006,
}
"""Of the CPU time of the demo clip (`python -m tests.cluster.stage_table`), with both landmark models in turn."""


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Calls to an object store, by what they are priced as."""

    reads: int
    """GET and HEAD."""
    writes: int
    """PUT and COPY."""
    deletes: int


CLIP_REQUESTS = Requests(reads=9, writes=2, deletes=1)
"""Of a clip in a bucket whose dataset lies in one: fetched, its units looked for, its cuts asked for and written."""
UNIT_REQUESTS = Requests(reads=17, writes=12, deletes=6)
"""Of a unit: its clip fetched to be tracked and to be rendered; record and five shards looked for, written under a
temporary name and renamed, which in a bucket is a copy and a deletion. Counted in tests/end_to_end/test_buckets.py."""


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What a run would come to."""

    core_hours: float
    stage_core_hours: Mapping[str, float]
    gigabytes: float
    requests: Requests
    """Of a run from a bucket into a bucket; of local files none is made."""
    price: float | None
    """Of the core hours alone, in the currency of the price that was given."""


def bill(
    *,
    clips: int,
    units: int,
    frames: float,
    seconds_per_frame: float,
    bytes_per_frame: float,
    stage_shares: Mapping[str, float] = STAGE_SHARES,
    price_per_core_hour: float | None = None,
) -> Bill:
    """The bill of so many clips, cut into units with frames to work on."""
    core_hours = frames * seconds_per_frame / 3600
    requests = {
        name: clips * getattr(CLIP_REQUESTS, name) + units * getattr(UNIT_REQUESTS, name)
        for name in ("reads", "writes", "deletes")
    }
    return Bill(
        core_hours=core_hours,
        stage_core_hours={stage: core_hours * share for stage, share in stage_shares.items()},
        gigabytes=frames * bytes_per_frame / 1e9,
        requests=Requests(**requests),
        price=None if price_per_core_hour is None else core_hours * price_per_core_hour,
    )
