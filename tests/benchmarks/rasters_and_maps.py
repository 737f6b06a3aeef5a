"""Rasters, per-pixel maps, and a whole pair."""

from __future__ import annotations

import os

import numpy as np

from pipeline.geometry.motion import motion_field
from pipeline.geometry.visibility import pair_maps
from pipeline.rendering import render
from pipeline.rendering.choice import gl_platform
from pipeline.rendering.compiled import CompiledRasterizer
from tests.benchmarks.dense_body import SIDE_PX, VERTEX_COUNT, dense_pair
from tests.benchmarks.measuring import Benchmark, Call, UnavailableError
from tests.benchmarks.peers import EmbreeRaster, FreshPyrender, SparseSvd, masked_maps
from tests.support.surfaces import rendered_pair

ON = f"{VERTEX_COUNT:,} vertices at {SIDE_PX} pixels"
LIMITS = {"depth_tolerance_m": 0.03, "min_pixel_baseline_m": 0.05}


def benchmarks() -> list[Benchmark]:
    """Entries of build/benchmarks.json."""
    return [
        Benchmark(
            name="raster_vs_pyrender_fresh_256",
            detail=f"ids, weights and depth of {ON}; peer: pyrender, a new mesh a frame, depth alone, one thread",
            prepare=_pyrender,
        ),
        Benchmark(
            name="raster_vs_embree_256",
            detail=f"ids, weights and depth of {ON}; peer: embree with its hierarchy, rays in the bounding box",
            prepare=_embree,
        ),
        Benchmark(
            name="maps_vs_masked_numpy",
            detail=f"motion, validity, baseline, warp and statistics of {ON}; peer: numpy and scipy over body pixels",
            prepare=_maps,
            max_rounds=101,
        ),
        Benchmark(
            name="pair_vs_library_batched",
            detail=f"field, two rasters and maps of {ON}; peer: sparse sums and SVD, embree, numpy over body pixels",
            prepare=_whole_pair,
        ),
    ]


def _render_target() -> Call:
    pair, _ = dense_pair()
    rasterizer = CompiledRasterizer()
    return lambda: render(rasterizer, pair.target, pair.faces, pair.target_camera)


def _pyrender() -> tuple[Call, Call]:
    platform = gl_platform()
    if platform is None:
        raise UnavailableError("no OpenGL: install libegl1 and libgl1-mesa-dri")
    os.environ["PYOPENGL_PLATFORM"] = platform
    pair, _ = dense_pair()
    ours, peer = _render_target(), FreshPyrender(pair.faces, pair.target_camera)
    apart = np.abs(ours().depth - peer.draw(pair.target))
    assert np.median(apart[ours().mask]) < 3e-3  # its depth is that of one off-centre sample
    return ours, lambda: peer.draw(pair.target)


def _embree() -> tuple[Call, Call]:
    pair, _ = dense_pair()
    ours, peer = _render_target(), EmbreeRaster(pair.faces, pair.target_camera)
    assert (ours().mask != (peer.draw(pair.target).face >= 0)).sum() <= 2
    return ours, lambda: peer.draw(pair.target)


def _maps() -> tuple[Call, Call]:
    pair, rings = dense_pair()
    target, reference = rendered_pair(pair)
    field = motion_field(target=target, reference=reference, rings=rings)

    def ours():
        return pair_maps(field, target=target, reference=reference, **LIMITS)

    def peer():
        return masked_maps(
            target.raster.face_id, target.raster.barycentric, reference.raster.depth,
            (pair.target, pair.reference), pair.faces,
            (field.rotation, field.translation), pair.reference_camera,
        )  # fmt: skip

    assert np.abs(ours().motion.astype(float) - peer()[0].astype(float)).max() < 0.02
    assert (ours().validity == peer()[1]).mean() > 0.99
    return ours, peer


def _whole_pair() -> tuple[Call, Call]:
    pair, rings = dense_pair()
    solver = SparseSvd(rings)
    cameras = (pair.target_camera, pair.reference_camera)
    embree = [EmbreeRaster(pair.faces, camera) for camera in cameras]

    def ours():
        target, reference = rendered_pair(pair)
        field = motion_field(target=target, reference=reference, rings=rings)
        return pair_maps(field, target=target, reference=reference, **LIMITS)

    def peer():
        field = solver.fit(pair.target, pair.reference)
        target, reference = embree[0].draw(pair.target), embree[1].draw(pair.reference)
        return masked_maps(
            target.face,
            target.weights,
            reference.depth,
            (pair.target, pair.reference),
            pair.faces,
            field,
            cameras[1],
        )

    assert (ours().validity == peer()[1]).mean() > 0.99
    return ours, peer
