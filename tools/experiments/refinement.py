"""What refinement does to bodies of studio films, against the truth: docs/experiments.md, "Refinement".

    PYTHONPATH=. python tools/experiments/refinement.py films/held --tracked films/tracked-held --out refinement.jsonl

Bodies start exact, with errors of .3, 1 and 3 cm and degrees per joint that differ in every frame (several seeds), or
as a tracker found them. Misalignment is taken from the truth here, not from pictures: how far the pixel that the bodies
give a surface point in another frame lies from where the dressed person's own point is, across the line on which depth
moves it, times 1.7456 (see `pipeline/refine/misalignment.py`). Joint errors are in camera coordinates, nothing aligned.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from material import read_film, tracks_of_frames

from pipeline.config import Settings
from pipeline.geometry.camera import Camera, translation_from_weak_perspective
from pipeline.geometry.motion import motion_field
from pipeline.geometry.posed_surface import RenderedSurface
from pipeline.geometry.raster import Raster
from pipeline.geometry.visibility import pair_maps
from pipeline.method.refined_tracks import refined_by_crops
from pipeline.method.rendered_frames import body_from_vector
from pipeline.method.resources import Resources, shared_resources
from pipeline.records import Footage, Track
from pipeline.refine.misalignment import LENGTH_OVER_COMPONENT, depth_direction
from pipeline.rendering import render
from pipeline.studio.clip import StudioClip
from pipeline.studio.true_tracker import BodyJitter, TrueTracker
from pipeline.video.crops import crop_image, encode_jpeg
from schemas.conventions import IMAGE_PX, MAP_PX, VECTOR_BETAS, VECTOR_CAMERA, VECTOR_POSE
from schemas.settings import with_overrides

TARGET_STRIDE = 8
GAPS = (2, 6, 10)
"""Frames between target and reference, on both sides."""
DRESSED_WITHIN_M = 0.1
SEEN_WITHIN_M = 0.02


@dataclass(frozen=True, kw_only=True)
class Start:
    """One film with bodies to start from."""

    film: Path
    name: str
    jitter: BodyJitter | None
    """None: as tracked."""
    tracked: Path | None = None
    overrides: tuple[str, ...] = ()
    """Of the pipeline's settings."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What is told of one version of the bodies of a film."""

    misalignment_px: float
    """Median over pairs."""
    joints_mm: float
    """Mean distance of the 24 joints from the truth."""
    root_joints_mm: float
    """The same with the pelvis in one place."""


def main(argv: list[str]) -> int:
    """Measures everything in as many processes as there are cores, and prints a line for each kind of start."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("films", type=Path)
    parser.add_argument(
        "--tracked", type=Path, help="dataset made from the films by `python -m pipeline run`"
    )
    parser.add_argument("--out", required=True, type=Path, help="JSON lines")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--only", metavar="TEXT", help="only starts whose name holds this")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="a setting to change")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args(argv)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    films = sorted(options.films.glob("[!.]*.mp4"))[: options.clips]
    starts = [
        replace(start, overrides=tuple(options.set))
        for start in all_starts(films, options)
        if options.only is None or options.only in start.name
    ]
    found: dict[str, list[dict[str, float]]] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=context) as pool, options.out.open("a") as out:
        for start, row in zip(starts, pool.map(measured, starts)):
            out.write(
                json.dumps({"start": start.name, "film": start.film.stem, "overrides": options.set} | row)
                + "\n"
            )
            out.flush()
            found.setdefault(start.name, []).append(row)
    for name, rows in found.items():
        print(line(name, rows))
    return 0


def all_starts(films: list[Path], options: argparse.Namespace) -> Iterator[Start]:
    """Those that take longest to fail first."""
    for film in films:
        if options.tracked:
            yield Start(film=film, name="tracked", jitter=None, tracked=options.tracked)
        yield Start(film=film, name="exact", jitter=BodyJitter())
        for size in (0.3, 1.0, 3.0):
            for seed in range(options.seeds):
                jitter = BodyJitter(shift_cm=size, turn_deg=size, seed=seed)
                yield Start(film=film, name=f"{size:g} cm and degrees, seed {seed}", jitter=jitter)


def measured(start: Start) -> dict[str, float]:
    """Figures before and after, and seconds a frame."""
    settings = with_overrides(Settings(), start.overrides)
    clip, resources = StudioClip.load(start.film.with_suffix(".json")), shared_resources(settings)
    frames = list(read_film(start.film, clip.settings.fps))
    if start.jitter is None:
        assert start.tracked is not None
        tracks = tracks_of_frames(start.tracked, clip.clip_id)
        track = max(tracks, key=lambda each: len(each.frame_index))
    else:
        tracker = TrueTracker(start.film.parent, settings, start.jitter)
        (track,) = tracker.track(frames, Footage(unit_id=clip.clip_id))
    jpegs = {
        int(at): encode_jpeg(crop_image(frames[at].image, crop, IMAGE_PX), settings.pairs.jpeg_quality)
        for at, crop in zip(track.frame_index, track.crop_px)
    }
    begin = time.process_time()
    better = refined_by_crops(track, jpegs, resources)
    taken_s = (time.process_time() - begin) / max(int(track.kept.sum()), 1)
    row = {"refine_s": taken_s}
    for version, bodies in (("before", track), ("after", better)):
        row |= {
            f"{version}_{name}": value for name, value in asdict(figures(clip, bodies, resources)).items()
        }
    return row


def figures(clip: StudioClip, track: Track, resources: Resources) -> Figures:
    """Of the kept frames of a track."""
    kept = list(map(int, np.flatnonzero(track.kept)))
    scenes = {at: Scene.of(clip, track, at, resources) for at in kept}
    pairs = [
        misalignment_px(scenes[target], scenes[target + gap], clip, resources)
        for target in kept[::TARGET_STRIDE]
        for gap in (*GAPS, *(-gap for gap in GAPS))
        if target + gap in scenes
    ]
    known = [pair for pair in pairs if np.isfinite(pair)]
    apart = np.stack([scene.joints - scene.true_joints for scene in scenes.values()])
    return Figures(
        misalignment_px=float(np.median(known)) if known else float("nan"),
        joints_mm=1000 * float(np.linalg.norm(apart, axis=-1).mean()),
        root_joints_mm=1000 * float(np.linalg.norm(apart - apart[:, :1], axis=-1).mean()),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """One frame: what the bodies say and what is true, in the crop's camera at map size."""

    body: RenderedSurface
    surface: np.ndarray
    """(V', 3) the dressed person."""
    true_raster: Raster
    joints: np.ndarray
    """(24, 3) metres, like the next."""
    true_joints: np.ndarray

    @classmethod
    def of(cls, clip: StudioClip, track: Track, at: int, resources: Resources) -> Scene:
        """The frame at a place of the track."""
        camera = Camera(track.K[at], (IMAGE_PX, IMAGE_PX)).resized((MAP_PX, MAP_PX))
        time_s, vector = float(track.pts_s[at]), track.vector[at]
        surface, truth = clip.at(time_s).surface, clip.body_at(time_s)
        vertices = body_from_vector(vector, camera, resources.body).vertices
        return cls(
            body=RenderedSurface(
                vertices=vertices,
                faces=resources.body.faces,
                camera=camera,
                face_id=resources.rasterizer.face_ids(vertices, resources.body.faces, camera),
            ),
            surface=surface,
            true_raster=render(resources.rasterizer, surface, clip.actor.mesh.faces, camera),
            joints=resources.body.joints(
                vector[VECTOR_POSE].reshape(-1, 3),
                vector[VECTOR_BETAS],
                translation_from_weak_perspective(vector[VECTOR_CAMERA], camera),
            ),
            true_joints=resources.body.joints(truth.pose, truth.betas, truth.translation),
        )


def misalignment_px(target: Scene, reference: Scene, clip: StudioClip, resources: Resources) -> float:
    """1.7456 times the median error across the depth direction, map pixels; NaN where no pixel counts."""
    pairs = resources.settings.pairs
    maps = pair_maps(
        motion_field(target=target.body, reference=reference.body, rings=resources.rings),
        target=target.body,
        reference=reference.body,
        depth_tolerance_m=pairs.depth_tolerance_m,
        min_pixel_baseline_m=pairs.min_pixel_baseline_m,
    )
    true_px, seen = true_pixels(target, reference, clip.actor.mesh.faces)
    base_m = target.body.raster.depth
    seen &= maps.visible
    gap = base_m - target.true_raster.depth
    if seen.any():  # how far away a person stands is not seen by a tracker
        seen &= np.abs(gap - np.median(gap[seen])) < DRESSED_WITHIN_M
    row, column = np.nonzero(seen)
    target_px = np.stack([column, row], axis=1) + 0.5
    along = depth_direction(
        target_px, base_m[seen], maps.motion[seen], target.body.camera, reference.body.camera
    )
    apart = maps.warp_px[seen] - true_px[seen]
    across = np.abs(along[:, 0] * apart[:, 1] - along[:, 1] * apart[:, 0]) / np.linalg.norm(along, axis=1)
    across = across[np.isfinite(across)]
    return LENGTH_OVER_COMPONENT * float(np.median(across)) if len(across) else float("nan")


def true_pixels(target: Scene, reference: Scene, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 2) where the dressed person's own points lie in the reference, and which of them it shows."""
    raster = target.true_raster
    corners, weight = faces[raster.face_id[raster.mask]], raster.barycentric[raster.mask]
    moved = np.einsum("nk,nkc->nc", weight, reference.surface[corners])
    px = reference.body.camera.px_from_cam(moved)
    column, row = np.clip(np.floor(px).astype(int), 0, MAP_PX - 1).T
    true_px, seen = np.full((*raster.hw, 2), np.nan), np.zeros(raster.hw, bool)
    true_px[raster.mask] = px
    seen[raster.mask] = np.abs(reference.true_raster.depth[row, column] - moved[:, 2]) < SEEN_WITHIN_M
    return true_px, seen


def line(name: str, rows: list[dict[str, float]]) -> str:
    """Means over films."""
    mean = {key: statistics.mean(row[key] for row in rows if row[key] == row[key]) for key in rows[0]}
    return (
        f"{name:32s} {len(rows)} films, misalignment {mean['before_misalignment_px']:.2f} -> "
        f"{mean['after_misalignment_px']:.2f} px, joints {mean['before_joints_mm']:.1f} -> "
        f"{mean['after_joints_mm']:.1f} mm, about the pelvis {mean['before_root_joints_mm']:.1f} -> "
        f"{mean['after_root_joints_mm']:.1f} mm, {mean['refine_s']:.2f} s a frame"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
