"""What a worker loads once per process: body, rings, base mesh, tracker, rasterisers. Each is built on first use.

Their modules are imported then, too: a run's driver names resources and builds none.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from pipeline.config import Settings
from pipeline.rendering import make_rasterizer

if TYPE_CHECKING:
    from pipeline.body.model import BodyModel
    from pipeline.geometry.rings import Rings
    from pipeline.rendering import Rasterizer
    from pipeline.rendering.base_mesh import BaseMesh
    from pipeline.rendering.compiled import CompiledRasterizer
    from pipeline.tracking.tracker import ObservingTracker, Tracker


class Resources:
    """Body, rings, base mesh, tracker and rasteriser for one set of settings."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def body(self) -> BodyModel:
        """The body that `body.file` names, or the open body; its landmarks as `tracking.landmark_offsets` says."""
        from pipeline.body.model import BodyModel

        file = self.settings.body.file
        body = BodyModel.load(file) if file else BodyModel.open_body()
        return body if self.settings.tracking.landmark_offsets else body.as_named

    @cached_property
    def rings(self) -> Rings:
        """Two-ring neighbourhoods of the body's mesh."""
        from pipeline.geometry.rings import two_ring

        return two_ring(self.body.faces, self.body.vertex_count)

    @cached_property
    def mesh(self) -> BaseMesh:
        """What the settings do to the posed body before depth is rendered."""
        from pipeline.method.named_files import named_clothes
        from pipeline.rendering.base_mesh import BaseMesh

        rendering = self.settings.rendering
        clothes = named_clothes(self.settings)
        return BaseMesh(
            self.body.faces,
            self.body.vertex_count,
            smoothing_passes=rendering.smoothing_passes,
            surface_offset_m=rendering.surface_offset_m,
            clothes_m=None if clothes is None else clothes.offset_m,
        )

    @cached_property
    def tracker(self) -> Tracker:
        """The tracker that `tracking.tracker` names; loads its models when they are first needed."""
        return self.observing_tracker

    @cached_property
    def observing_tracker(self) -> ObservingTracker:
        """The same tracker, which also tells what it saw."""
        # Their runtimes are not needed to render tracks.
        from pipeline.tracking.imported_tracker import ImportedTracker
        from pipeline.tracking.network_tracker import NetworkTracker
        from pipeline.tracking.tracker import LandmarkTracker

        name = self.settings.tracking.tracker
        if name == "imported":
            return ImportedTracker(self.body, self.settings)
        if name == "network":
            return NetworkTracker(self.body, self.settings)
        return LandmarkTracker(self.body, self.settings)

    @cached_property
    def rasterizer(self) -> Rasterizer:
        """The rasteriser that `rendering.rasterizer` names."""
        rendering = self.settings.rendering
        return make_rasterizer(rendering.rasterizer, near_m=rendering.near_m)

    @cached_property
    def refining_rasterizer(self) -> CompiledRasterizer:
        """The rasteriser of refinement's visibility: compiled, so that bodies do not depend on what draws depth."""
        from pipeline.rendering.compiled import CompiledRasterizer

        return CompiledRasterizer(near_m=self.settings.rendering.near_m)


@lru_cache(maxsize=1)
def shared_resources(settings: Settings) -> Resources:
    """The resources of this process: steps that run in the same worker share models and GL contexts."""
    return Resources(settings)
