"""The motion fields of a track's pairs: of two pairs that are each other's opposite the second is turned round."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.motion import MotionField, motion_field, opposite_field
from pipeline.geometry.posed_surface import PosedSurface, RenderedSurface
from pipeline.geometry.rings import Rings


class PairFields:
    """Fields by the places of target and reference in their track. Targets come in order of time.

    A field is kept until its reference has been a target: with the default gaps some fifty of them, 35 MB.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], tuple[MotionField, NDArray[np.bool_]]] = {}

    def of_target(
        self, target: int, surface: RenderedSurface, references: dict[int, PosedSurface], rings: Rings
    ) -> dict[int, MotionField]:
        """The fields of a target's pairs by reference, at the vertices that the target shows."""
        vertices = surface.shown.of_faces
        shown = np.zeros(surface.vertex_count, np.bool_)
        shown[vertices] = True
        fields = {}
        for at, reference in references.items():
            pair: dict[str, Any] = {
                "target": surface,
                "reference": reference,
                "rings": rings,
                "vertices": vertices,
            }
            opposite = self._kept.pop((at, target), None)
            fields[at] = motion_field(**pair) if opposite is None else opposite_field(*opposite, **pair)
            if at > target:
                self._kept[target, at] = fields[at], shown
        for done in [each for each in self._kept if each[1] <= target]:
            del self._kept[done]
        return fields
