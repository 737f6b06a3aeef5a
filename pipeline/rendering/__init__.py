"""From a posed body to the raster that everything per pixel is made of."""

from pipeline.rendering.choice import make_rasterizer, resolve_backend
from pipeline.rendering.rasterizer import Rasterizer, render

__all__ = ["Rasterizer", "make_rasterizer", "render", "resolve_backend"]
