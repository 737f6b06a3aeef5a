"""The pipeline's resources with the studio's own bodies behind the tracker's seam."""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path

from pipeline.config import Settings
from pipeline.method.resources import Resources
from pipeline.studio.true_tracker import BodyJitter, TrueTracker
from pipeline.tracking.tracker import landmark_models


class TrueResources(Resources):
    """Everything as in a run, but the bodies are known."""

    def __init__(self, settings: Settings, studio: Path, jitter: BodyJitter) -> None:
        super().__init__(settings)
        self._studio, self._jitter = studio, jitter

    @cached_property
    def tracker(self) -> TrueTracker:
        """The studio's bodies; with outlines where refinement asks for them."""
        refine = self.settings.refine
        models = landmark_models(self.settings) if refine.outlines and refine.mode != "off" else None
        return TrueTracker(self._studio, self.settings, self._jitter, models)


@lru_cache(maxsize=1)
def true_resources(settings: Settings, *, studio: Path, jitter: BodyJitter) -> TrueResources:
    """Those of this process, like `pipeline.method.resources.shared_resources`."""
    return TrueResources(settings, studio, jitter)
