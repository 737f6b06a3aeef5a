"""The command `gallery`."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.commands.arguments import add_dataset
from schemas.command_line import Commands, at_least_one
from schemas.errors import SettingsError
from schemas.escaping import shown
from schemas.places import existing_path, file_to_write


def add_to(commands: Commands) -> None:
    """Adds the command."""
    gallery = commands.add(
        "gallery",
        "a page of pictures: photo, body, depth, motion, validity, refined depth",
        examples=["dataset --out gallery.html", "dataset --out gallery.jpg --predictions predicted"],
    )
    add_dataset(gallery)
    gallery.add_argument(
        "--out",
        type=file_to_write,
        required=True,
        metavar="FILE",
        help="HTML page to write, or a JPEG or PNG with the same pictures",
    )
    gallery.add_argument(
        "--predictions",
        type=existing_path,
        metavar="FOLDER",
        help="what `python -m trainer predict --dataset` wrote: adds the refined depth",
    )
    gallery.add_argument(
        "--per-track", type=int, default=3, metavar="N", help="frames shown of every person (default: 3)"
    )
    gallery.set_defaults(command=_gallery)


def _gallery(options: argparse.Namespace) -> int:
    from pipeline.audit.gallery import SUFFIXES, write_gallery
    from schemas.dataset import Dataset

    at_least_one(options, "per_track")
    if Path(options.out).suffix.lower() not in SUFFIXES:
        raise SettingsError(
            f"--out {options.out} does not end in {', '.join(SUFFIXES)}.", remedy="Give a name that does."
        )
    drawn = write_gallery(
        Dataset.open(options.dataset), options.out, options.predictions, per_track=options.per_track
    )
    print(f"wrote {shown(options.out)} ({drawn} frames)")
    return 0
