"""From a posed body to the raster that everything per pixel is made of.

Every name below is imported when it is first used: a run's driver asks for backends and draws nothing.
"""

from typing import TYPE_CHECKING

from schemas.exports import on_demand

if TYPE_CHECKING:
    from pipeline.rendering.choice import make_rasterizer, resolve_backend
    from pipeline.rendering.rasterizer import Rasterizer, render

__all__ = ["Rasterizer", "make_rasterizer", "render", "resolve_backend"]

__getattr__, __dir__ = on_demand(
    __name__,
    {
        "pipeline.rendering.choice": "make_rasterizer resolve_backend",
        "pipeline.rendering.rasterizer": "Rasterizer render",
    },
)
