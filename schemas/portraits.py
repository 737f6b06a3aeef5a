"""The table TrackNet is trained on: one picture of one person and the body that was there.

Any Parquet file with these columns serves; `samples` of a dataset do too (`mask` is then where there is base depth).
"""

from __future__ import annotations

from schemas.column import Column
from schemas.conventions import VECTOR_SIZE
from schemas.table import TableSpec

PORTRAIT_PX = 256
"""Side of the pictures."""

PORTRAITS = TableSpec(
    name="portraits",
    version=1,
    doc="Pictures of people with their bodies.",
    columns=(
        Column(name="sample_id", dtype="string", doc="unique"),
        Column(name="source_id", dtype="string", doc="what splits are made by: one person or one film"),
        Column(
            name="image",
            dtype="uint8",
            shape=(PORTRAIT_PX, PORTRAIT_PX, 3),
            codec="image",
            doc="a square crop around the person with room to spare, JPEG or PNG bytes (sRGB)",
        ),
        Column(
            name="mask",
            dtype="uint8",
            shape=(PORTRAIT_PX, PORTRAIT_PX),
            codec="map",
            doc="1 where the picture shows the person",
        ),
        Column(
            name="body_vector",
            dtype="float32",
            shape=(VECTOR_SIZE,),
            doc="[s, tx, ty | 72 pose | 10 betas], x2d = s (X_xy + t) in [-1, 1] of this crop",
        ),
    ),
)
