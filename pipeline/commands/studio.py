"""`python -m pipeline studio`, `studio-run` and `truth`: arguments to settings, nothing else."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

from schemas.errors import SettingsError, SourceError
from schemas.escaping import shown
from schemas.places import folder_to_write, plain_file_to_write, plain_folder_to_write, plain_path

MANIFEST = "clips.csv"
PICTURES = (".jpg", ".jpeg", ".png")


def add_commands(commands: Any) -> None:
    """Adds the commands to argparse's subparsers."""
    studio = commands.add_parser("studio", help="film clips of made-up people of whom everything is known")
    studio.add_argument(
        "--out", type=folder_to_write, required=True, help="folder for films, their notes and clips.csv"
    )
    studio.add_argument("--clips", type=int, default=12, help="how many (default 12)")
    studio.add_argument("--seed", type=int, default=0, help="seed of the first clip; the others follow it")
    studio.add_argument("--backgrounds", help="folder of pictures; without it backgrounds are made up too")
    studio.add_argument(
        "--set", dest="overrides", metavar="FIELD=VALUE", action="append", default=[], help="change a setting"
    )
    studio.set_defaults(command=_film)

    portraits = commands.add_parser(
        "portraits", help="pictures of made-up people with their true bodies, to train TrackNet on"
    )
    portraits.add_argument(
        "--out", type=plain_file_to_write, required=True, help="Parquet file (table `portraits`)"
    )
    portraits.add_argument("--clips", type=int, default=12, help="how many people (default 12)")
    portraits.add_argument("--per-clip", type=int, default=10, help="pictures of each (default 10)")
    portraits.add_argument("--seed", type=int, default=0, help="seed of the first clip; the others follow it")
    portraits.add_argument("--backgrounds", help="as for `studio`")
    portraits.add_argument(
        "--set", dest="overrides", metavar="FIELD=VALUE", action="append", default=[], help="as for `studio`"
    )
    portraits.set_defaults(command=_portraits)

    truth = commands.add_parser(
        "truth", help="the true depth of a dataset's samples that come from the studio"
    )
    truth.add_argument("dataset", type=plain_path, help="made by `run` on the studio's clips.csv")
    truth.add_argument("--studio", required=True, help="folder that `studio --out` made")
    truth.add_argument("--out", type=folder_to_write, required=True, help="folder for one npz per sample")
    truth.set_defaults(command=_truth)

    bodies = commands.add_parser(
        "studio-run", help="like `run` on the studio's clips, with their true bodies instead of tracked ones"
    )
    bodies.add_argument("studio", help="folder that `studio --out` made")
    bodies.add_argument("--out", type=plain_folder_to_write, required=True, help="new dataset folder")
    bodies.add_argument("--workers", type=int, default=1, help="processes on this machine (default 1)")
    bodies.add_argument("--jitter-cm", type=float, default=0.0, help="rms shift of the bodies")
    bodies.add_argument("--jitter-deg", type=float, default=0.0, help="rms turn of every joint")
    bodies.add_argument(
        "--jitter-common",
        action="store_true",
        help="the same error in all frames of a clip, not one for each",
    )
    bodies.add_argument("--jitter-seed", type=int, default=0)
    bodies.add_argument(
        "--set", dest="overrides", metavar="SECTION.FIELD=VALUE", action="append", default=[],
        help="change a setting of the pipeline",
    )  # fmt: skip
    bodies.set_defaults(command=_run_true_bodies)


def _film(options: argparse.Namespace) -> int:
    from rich.progress import track

    from pipeline.studio.clip import StudioClip
    from pipeline.studio.settings import StudioSettings
    from schemas.settings import with_overrides

    if options.clips < 1 or options.seed < 0:
        raise SettingsError(
            f"--clips {options.clips} --seed {options.seed} makes no film.",
            remedy="Give 1 or more, seed 0 or more.",
        )
    settings = with_overrides(StudioSettings(), options.overrides)
    backgrounds = _backgrounds(options.backgrounds)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    with open(out / MANIFEST, "w", newline="") as file:
        manifest = csv.writer(file)
        manifest.writerow(["clip_id", "source_id", "uri", "focal_px", "licence"])
        for seed in track(range(options.seed, options.seed + options.clips), description="filming"):
            clip = StudioClip(seed, settings, backgrounds)
            path = clip.write(out)
            manifest.writerow(
                [clip.clip_id, clip.clip_id, path.name, repr(float(clip.camera.K[0, 0])), "CC0-1.0"]
            )
            file.flush()
    print(f"wrote {options.clips} clip(s) and {shown(out / MANIFEST)}")
    return 0


def _portraits(options: argparse.Namespace) -> int:
    from rich.progress import track

    from pipeline.dataset.storage import write_table
    from pipeline.studio.portraits import portraits_of
    from pipeline.studio.settings import StudioSettings
    from schemas.portraits import PORTRAITS
    from schemas.settings import with_overrides

    if min(options.clips, options.per_clip) < 1 or options.seed < 0:
        raise SettingsError(
            f"--clips {options.clips} --per-clip {options.per_clip} --seed {options.seed} makes no picture.",
            remedy="Give 1 or more, seed 0 or more.",
        )
    settings = with_overrides(StudioSettings(), options.overrides)
    seeds = track(range(options.seed, options.seed + options.clips), description="portraits")
    rows = portraits_of(seeds, settings, options.per_clip, _backgrounds(options.backgrounds))
    count = write_table(PORTRAITS, rows, Path(options.out))
    print(f"wrote {count} portrait(s) into {shown(options.out)}")
    return 0


def _truth(options: argparse.Namespace) -> int:
    from pipeline.studio.truth import ClothingThickness, truth_of
    from schemas.dataset import Dataset
    from schemas.prediction import prediction_path

    out, count, thickness = Path(options.out), 0, ClothingThickness()
    for sample_id, truth in truth_of(Dataset.open(options.dataset), Path(options.studio)):
        count += 1
        truth.save(prediction_path(out, sample_id))
        thickness.add(truth)
    print(f"wrote the truth of {count} sample(s) into {shown(out)}")
    print("\n".join(thickness.lines()))
    return 0


def _run_true_bodies(options: argparse.Namespace) -> int:
    from functools import partial

    from pipeline.config import preset
    from pipeline.runner.driver import run
    from pipeline.runner.summary import print_run
    from pipeline.studio.true_toolbox import true_toolbox
    from pipeline.studio.true_tracker import BodyJitter
    from pipeline.video.source import clips_from_arguments
    from schemas.settings import with_overrides

    out, studio = Path(options.out), Path(options.studio)
    if out.exists() and any(out.iterdir()):
        raise SettingsError(
            f"--out {out} is not empty: which bodies its rows were made with is not known.",
            remedy="Give another folder.",
        )
    jitter = BodyJitter(
        shift_cm=options.jitter_cm,
        turn_deg=options.jitter_deg,
        is_common=options.jitter_common,
        seed=options.jitter_seed,
    )
    summary = run(
        clips_from_arguments([str(studio / MANIFEST)]),
        str(out),
        # Bodies are as they were asked for: exact, or spoilt.
        with_overrides(preset("paper"), ["refine.mode=off", *options.overrides]),
        workers=options.workers,
        make_toolbox=partial(true_toolbox, studio=studio, jitter=jitter),
    )
    print_run(summary, str(out))
    return summary.exit_code


def _backgrounds(folder: str | None) -> list[Path]:
    if folder is None:
        return []
    found = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in PICTURES)
    if not found:
        raise SourceError(f"{folder} holds no pictures.", remedy="Give a folder of JPEG or PNG files.")
    return found
