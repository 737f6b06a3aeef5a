"""Pure, batched geometry: knows neither files nor frameworks. Conventions: `schemas.conventions`.

    from pipeline.geometry import PosedSurface, motion_field, pair_maps, two_ring
    field = motion_field(target=target, reference=reference, rings=two_ring(faces, vertex_count))
    maps = pair_maps(field, target=target, reference=reference, depth_tolerance_m=0.03, min_pixel_baseline_m=0.05)

Every name below is imported when it is first used: kernels take half a second to load.
"""

from typing import TYPE_CHECKING

from schemas.exports import on_demand

if TYPE_CHECKING:
    from pipeline.geometry.camera import Camera
    from pipeline.geometry.motion import MotionField, PairStatistics, estimate_statistics, motion_field
    from pipeline.geometry.posed_surface import PosedSurface, RenderedSurface
    from pipeline.geometry.raster import Raster, raster_from_face_ids
    from pipeline.geometry.rigid import rotation_from_rotvec, rotvec_from_rotation
    from pipeline.geometry.rings import Rings, one_ring, two_ring
    from pipeline.geometry.visibility import PairMaps, pair_maps

__all__ = [
    "Camera",
    "MotionField",
    "PairMaps",
    "PairStatistics",
    "PosedSurface",
    "Raster",
    "RenderedSurface",
    "Rings",
    "estimate_statistics",
    "motion_field",
    "one_ring",
    "pair_maps",
    "raster_from_face_ids",
    "rotation_from_rotvec",
    "rotvec_from_rotation",
    "two_ring",
]

__getattr__, __dir__ = on_demand(
    __name__,
    {
        "pipeline.geometry.camera": "Camera",
        "pipeline.geometry.motion": "MotionField PairStatistics estimate_statistics motion_field",
        "pipeline.geometry.posed_surface": "PosedSurface RenderedSurface",
        "pipeline.geometry.raster": "Raster raster_from_face_ids",
        "pipeline.geometry.rigid": "rotation_from_rotvec rotvec_from_rotation",
        "pipeline.geometry.rings": "Rings one_ring two_ring",
        "pipeline.geometry.visibility": "PairMaps pair_maps",
    },
)
