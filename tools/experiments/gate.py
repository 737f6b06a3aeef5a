"""From which misalignment on a sample's evidence misleads: docs/experiments.md, "Misalignment".

    PYTHONPATH=. python tools/experiments/gate.py films/tune --out gate.jsonl

Bodies of studio films err by several sizes, differently in every frame. For some targets of each: the median
`misalignment_px` of the sample's pairs, and the share of the base depth's error that a probe recovers with them.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from material import _segment, read_film

from pipeline.config import Settings
from pipeline.method.rendered_frames import RenderedFrames
from pipeline.method.resources import shared_resources
from pipeline.method.samples import target_rows
from pipeline.records import Footage
from pipeline.studio.clip import StudioClip
from pipeline.studio.true_tracker import BodyJitter, TrueTracker
from pipeline.studio.truth import truth_at
from pipeline.video.crops import crop_image, encode_jpeg
from schemas.conventions import IMAGE_PX
from schemas.settings import with_overrides
from schemas.tables import SAMPLES
from trainer.batch import batch_of_row
from trainer.config import DataSettings
from trainer.probe import PROBE_LOSSES, ProbeSettings, optimised_offset, probed
from trainer.recovery import recovery

LOSSES = with_overrides(PROBE_LOSSES, ["gamma_smooth=4", "gamma_reg=0.1"])


def main(argv: list[str]) -> int:
    """Writes a line for each sample."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("films", type=Path)
    parser.add_argument("--out", required=True, type=Path, help="JSON lines, appended to")
    parser.add_argument("--jitters", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75, 1.0, 1.5])
    parser.add_argument("--targets", type=int, default=2, help="of every film (default 2)")
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args(argv)
    with options.out.open("a") as out:
        for size in options.jitters:
            for film in sorted(options.films.glob("[!.]*.mp4")):
                for line in measured(film, size, options.targets, options.steps):
                    out.write(json.dumps(line) + "\n")
                    out.flush()
    return 0


def measured(film: Path, size: float, targets: int, steps: int) -> list[dict[str, float | str]]:
    """Figures of some targets of a film whose bodies err by `size` cm and degrees."""
    settings = Settings()
    settings = replace(settings, rendering=replace(settings.rendering, rasterizer="compiled"))
    pairs = replace(settings.pairs, max_misalignment_px=None)
    clip, resources = StudioClip.load(film.with_suffix(".json")), shared_resources(settings)
    frames = list(read_film(film, clip.settings.fps))
    tracker = TrueTracker(film.parent, settings, BodyJitter(shift_cm=size, turn_deg=size))
    (track,) = tracker.track(frames, Footage(unit_id=clip.clip_id))
    jpegs = {
        int(at): encode_jpeg(crop_image(frames[at].image, crop, IMAGE_PX), pairs.jpeg_quality)
        for at, crop in zip(track.frame_index, track.crop_px)
    }
    rendered, lines = RenderedFrames(track, jpegs, resources), []
    for target in np.linspace(0, len(frames) - 1, targets + 2).round().astype(int)[1:-1].tolist():
        rows = target_rows(_segment(film, clip), rendered, target, resources.rings, pairs)
        found = [row["misalignment_px"] for row in rows.pairs if row["kept"]]
        if rows.sample is None or None in found:
            continue
        sample = SAMPLES.decode_row(SAMPLES.encode_row(rows.sample))
        batch = batch_of_row(sample, DataSettings())
        (each,) = probed(batch, optimised_offset(batch, LOSSES, ProbeSettings(steps=steps)))
        truth = truth_at(clip, rows.sample["pts_s"], rows.sample["K"], resources.rasterizer)
        prediction = each.prediction
        shares = recovery(prediction.depth_m, prediction.base_depth_m, truth.depth_m, each.seen)
        lines.append(
            {"film": film.stem, "target": target, "size": size, "misalignment_px": float(np.median(found)),
             "base_mm": shares.base_mm, "found_mm": shares.found_mm, "recovered": shares.share}
        )  # fmt: skip
        print(lines[-1], flush=True)
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
