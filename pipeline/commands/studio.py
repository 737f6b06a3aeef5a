"""The command `studio film | run | truth | portraits`: arguments to settings, nothing else."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.arguments import SEE_SETTINGS, add_dataset, add_workers
from schemas.command_line import CommandParser, Commands, add_overrides, at_least_one
from schemas.errors import SettingsError, SourceError
from schemas.escaping import shown
from schemas.places import folder_to_write, plain_file_to_write, plain_folder_to_write

if TYPE_CHECKING:
    from pipeline.studio.recorded_motion import Take

MANIFEST = "clips.csv"
PICTURES = (".jpg", ".jpeg", ".png")


def add_to(commands: Commands) -> None:
    """Adds the command and its actions."""
    actions = commands.add_family(
        "studio",
        "film made-up people, and compare with what is known of them",
        about="First `film`, then `run` on the clips.csv it wrote (bodies found by the tracker) or `studio run` (true "
        "bodies), then `truth` for the true depth of the dataset's samples.",
    )
    film = actions.add("film", "film clips of made-up people", examples=["--out films --clips 20"])
    film.add_argument(
        "--out",
        type=folder_to_write,
        required=True,
        metavar="FOLDER",
        help="where films, their notes and clips.csv go",
    )
    _add_filming(film)
    film.set_defaults(command=_film)

    _add_run(actions)
    truth = actions.add(
        "truth",
        "write the true depth of a dataset's samples",
        examples=["DATASET --studio films --out truth"],
    )
    add_dataset(truth, "a dataset that was made from the studio's clips.csv")
    truth.add_argument(
        "--studio", required=True, metavar="FOLDER", help="the folder that `studio film` wrote"
    )
    truth.add_argument(
        "--out", type=folder_to_write, required=True, metavar="FOLDER", help="where one .npz per sample goes"
    )
    truth.set_defaults(command=_truth)

    portraits = actions.add(
        "portraits",
        "make training pictures for TrackNet: made-up people with their true bodies",
        examples=["--out portraits.parquet --clips 200"],
    )
    portraits.add_argument(
        "--out",
        type=plain_file_to_write,
        required=True,
        metavar="FILE",
        help="Parquet file to write (table `portraits`)",
    )
    portraits.add_argument(
        "--per-clip", type=int, default=10, metavar="N", help="pictures of each clip (default: 10)"
    )
    _add_filming(portraits)
    portraits.set_defaults(command=_portraits)


def _add_filming(parser: CommandParser) -> None:
    """What decides the clips."""
    parser.add_argument(
        "--clips", type=int, default=12, metavar="N", help="number of clips, a person each (default: 12)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the first clip; the others count on from it"
    )
    parser.add_argument(
        "--backgrounds",
        metavar="FOLDER",
        help="JPEG or PNG pictures to put behind people (default: made-up backgrounds)",
    )
    parser.add_argument(
        "--motion",
        metavar="FILE",
        help="an .npz of motion capture, of which every clip shows a random part (default: made-up movements)",
    )
    add_overrides(
        parser, what="the studio", see="all of them: python -m pipeline settings studio", form="FIELD=VALUE"
    )


def _add_run(actions: Commands) -> None:
    run = actions.add(
        "run",
        "make a dataset with the true bodies, or true bodies with errors of a known size",
        examples=[
            "films --out exact",
            "films --out spoilt --jitter-cm 1 --jitter-deg 1 --set pairs.max_misalignment_px=null",
        ],
    )
    run.add_argument("studio", metavar="FOLDER", help="the folder that `studio film` wrote")
    run.add_argument(
        "--out", type=plain_folder_to_write, required=True, metavar="DATASET", help="new dataset folder"
    )
    add_workers(run)
    run.add_argument(
        "--jitter-cm",
        type=float,
        default=0.0,
        metavar="CM",
        help="root mean square shift of the bodies (default: 0)",
    )
    run.add_argument(
        "--jitter-deg",
        type=float,
        default=0.0,
        metavar="DEG",
        help="root mean square rotation of every joint (default: 0)",
    )
    run.add_argument(
        "--jitter-common",
        action="store_true",
        help="the same error in all frames of a clip, instead of one for each",
    )
    run.add_argument(
        "--jitter-seed", type=int, default=0, metavar="N", help="seed of these errors (default: 0)"
    )
    add_overrides(run, what="the pipeline", see=SEE_SETTINGS)
    run.set_defaults(command=_run_true_bodies)


def _film(options: argparse.Namespace) -> int:
    from rich.progress import track

    from pipeline.studio.clip import StudioClip
    from pipeline.studio.recorded_motion import recorded_script
    from pipeline.studio.settings import StudioSettings
    from schemas.settings import with_overrides

    _check_filming(options)
    settings = with_overrides(StudioSettings(), options.overrides)
    backgrounds, takes = _backgrounds(options.backgrounds), _takes(options.motion)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    with open(out / MANIFEST, "w", newline="") as file:
        manifest = csv.writer(file)
        manifest.writerow(["clip_id", "source_id", "uri", "focal_px", "licence"])
        for seed in track(range(options.seed, options.seed + options.clips), description="filming"):
            clip = StudioClip(seed, settings, backgrounds, recorded_script(takes, seed, settings))
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

    _check_filming(options)
    at_least_one(options, "per_clip")
    settings = with_overrides(StudioSettings(), options.overrides)
    seeds = track(range(options.seed, options.seed + options.clips), description="portraits")
    rows = portraits_of(
        seeds, settings, options.per_clip, _backgrounds(options.backgrounds), _takes(options.motion)
    )
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
    from pipeline.studio.true_resources import true_resources
    from pipeline.studio.true_tracker import BodyJitter
    from pipeline.video.source import clips_from_arguments
    from schemas.settings import with_overrides

    out, studio = Path(options.out), Path(options.studio)
    if out.exists() and any(out.iterdir()):
        raise SettingsError(
            f"--out {out} is not empty, and a dataset does not record which bodies its rows were made with.",
            remedy="Give a new folder.",
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
        make_resources=partial(true_resources, studio=studio, jitter=jitter),
    )
    print_run(summary, str(out))
    return summary.exit_code


def _check_filming(options: argparse.Namespace) -> None:
    at_least_one(options, "clips")
    if options.seed < 0:
        raise SettingsError(f"--seed cannot be {options.seed}.", remedy="Give 0 or more.")


def _takes(file: str | None) -> list[Take]:
    """Recorded movements; none where no file is given."""
    from pipeline.studio.recorded_motion import read_takes

    return [] if file is None else read_takes(Path(file))


def _backgrounds(folder: str | None) -> list[Path]:
    if folder is None:
        return []
    found = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in PICTURES)
    if not found:
        raise SourceError(
            f"--backgrounds {folder} holds no pictures.", remedy="Give a folder of JPEG or PNG files."
        )
    return found
