"""What the offset that refinement solves for recovers by itself: docs/experiments.md, "The track's dressed shape".

    PYTHONPATH=. python tools/experiments/dressed.py films/held --tracked films/tracked-held --out dressed.jsonl

Bodies of studio films are refined: exact ones, those with errors of their own in every frame, and those that the
tracker found. The base depth of the refined bodies, and the same moved outwards by the offset that all frames of the
track share, against the true depth; intervals are the bootstrap's (95 %) over films.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from material import read_film, tracks_of_frames

from pipeline.config import Settings
from pipeline.geometry.camera import Camera
from pipeline.method.rendered_frames import body_from_vector
from pipeline.method.resources import shared_resources
from pipeline.records import Footage, Frame, Track
from pipeline.refine.dressed_shape import dressed
from pipeline.refine.refinement import refined_track
from pipeline.rendering import render
from pipeline.studio.clip import StudioClip
from pipeline.studio.true_tracker import BodyJitter, TrueTracker
from pipeline.studio.truth import truth_at
from pipeline.tracking.tracker import landmark_models
from pipeline.video.crops import crop_image
from schemas.conventions import IMAGE_PX, MAP_PX
from schemas.settings import with_overrides
from schemas.truth import PARTS
from trainer.metrics import best_offset

STRIDE = 6
TRACKED_HERE = "tracked here"
DRAWS = 4000
"""Resamplings of the bootstrap."""


def main(argv: list[str]) -> int:
    """Prints and writes a line for each film and size of error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("films", type=Path)
    parser.add_argument("--out", required=True, type=Path, help="JSON lines, appended to")
    parser.add_argument("--jitters", type=float, nargs="*", default=[0.0, 1.0])
    parser.add_argument(
        "--tracked", type=Path, help="dataset made from the films by `python -m pipeline run`"
    )
    parser.add_argument(
        "--track", action="store_true", help="track the films here: bodies as `--tracked`, and with outlines"
    )
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="a setting to change")
    options = parser.parse_args(argv)
    settings = with_overrides(Settings(), [*options.set, "rendering.rasterizer=compiled"])
    starts = [*options.jitters, *([] if options.tracked is None else [options.tracked])]
    starts += [TRACKED_HERE] if options.track else []
    found: dict[str, list[dict[str, float]]] = {}
    with options.out.open("a") as out:
        for film in sorted(options.films.glob("[!.]*.mp4")):
            for start in starts:
                figures = measured(film, start, settings)
                if figures is None:
                    continue
                line = {"film": film.stem, "start": str(start), "set": options.set, **figures}
                print(line, flush=True)
                out.write(json.dumps(line) + "\n")
                out.flush()
                found.setdefault(str(start), []).append(figures)
    for name, rows in found.items():
        low, high = interval([row["base"] for row in rows], [row["dressed"] for row in rows])
        mean = {key: float(np.mean([row[key] for row in rows])) for key in ("base", "dressed")}
        print(
            f"{name}: {len(rows)} films, {mean['base']:.2f} -> {mean['dressed']:.2f} mm, recovered "
            f"{1 - mean['dressed'] / mean['base']:+.1%} ({low:+.1%} to {high:+.1%})"
        )
    return 0


def interval(base: list[float], found: list[float]) -> tuple[float, float]:
    """Ends of the 95 % interval of 1 - mean found / mean base: films are drawn again."""
    drawn = np.random.default_rng(0).integers(len(base), size=(DRAWS, len(base)))
    shares = 1 - np.array(found)[drawn].mean(axis=1) / np.array(base)[drawn].mean(axis=1)
    return float(np.quantile(shares, 0.025)), float(np.quantile(shares, 0.975))


def track_of(
    film: Path, clip: StudioClip, frames: list[Frame], start: float | Path | str, settings: Settings
) -> Track | None:
    """Bodies that err by so many cm and degrees, those that a dataset holds, or those that the tracker finds; None
    where there is no usable track."""
    if isinstance(start, Path | str):
        if isinstance(start, Path):
            tracks = tracks_of_frames(start, clip.clip_id)
        else:
            footage = Footage(unit_id=clip.clip_id, focal_px=float(clip.camera.K[0, 0]))
            tracks = shared_resources(settings).tracker.track(frames, footage)
        usable = [track for track in tracks if track.kept.sum() >= 2]
        return max(usable, key=lambda track: int(track.kept.sum()), default=None)
    models = landmark_models(settings) if settings.refine.outlines else None
    tracker = TrueTracker(film.parent, settings, BodyJitter(shift_cm=start, turn_deg=start), models)
    (track,) = tracker.track(frames, Footage(unit_id=clip.clip_id))
    return track


def measured(film: Path, start: float | Path | str, settings: Settings) -> dict[str, float] | None:
    """Mean absolute errors in mm after one offset per image, by what is rendered; and by part."""
    clip, resources = StudioClip.load(film.with_suffix(".json")), shared_resources(settings)
    frames = list(read_film(film, clip.settings.fps))
    track = track_of(film, clip, frames, start, settings)
    if track is None:
        return None
    crops = [
        crop_image(frames[at].image, crop, IMAGE_PX) for at, crop in zip(track.frame_index, track.crop_px)
    ]
    refined = refined_track(
        track,
        crops.__getitem__,
        resources.body,
        resources.refining_rasterizer,
        settings.refine,
        settings.pairs.candidate_gaps_s,
    )
    surface, faces = refined.surface, resources.body.faces
    assert surface is not None, "a film of one frame"
    errors: dict[str, list[float]] = {}
    for at in map(int, np.flatnonzero(track.kept)[::STRIDE]):
        truth = truth_at(clip, float(track.pts_s[at]), track.K[at], resources.rasterizer)
        camera = Camera(track.K[at], (IMAGE_PX, IMAGE_PX)).resized((MAP_PX, MAP_PX))
        posed = body_from_vector(refined.vector[at], camera, resources.body)
        depths = {
            name: render(resources.rasterizer, vertices, faces, camera).depth
            for name, vertices in (
                ("base", posed.vertices),
                ("dressed", dressed(posed.vertices, surface.offset_m, faces)),
            )
        }
        known = (truth.depth_m > 0) & np.logical_and.reduce([depth > 0 for depth in depths.values()])
        for name, depth in depths.items():
            gap = depth[known] - truth.depth_m[known]
            gap = 1000 * np.abs(gap - best_offset(depth[known], truth.depth_m[known]))
            errors.setdefault(name, []).append(float(gap.mean()))
            for number, part in enumerate(PARTS, start=1):
                inside = truth.part[known] == number
                if inside.any():
                    errors.setdefault(f"{name}: {part}", []).append(float(gap[inside].mean()))
    means = {name: float(np.mean(values)) for name, values in errors.items()}
    return means | {
        "recovered": 1 - means["dressed"] / means["base"],
        "offset_mm": 1000 * float(surface.offset_m.mean()),
        "sigma_mm": 1000 * float(surface.sigma_m.mean()),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
