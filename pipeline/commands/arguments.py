"""Options that several commands take: each is declared here once."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from pipeline.config import Settings, preset
from schemas.command_line import add_settings
from schemas.places import plain_path
from schemas.settings import with_overrides

PRESETS = ("paper", "paper-exact", "released")
SEE_SETTINGS = "all of them: python -m pipeline settings"


def add_dataset(parser: argparse.ArgumentParser, says: str = "a dataset folder that `run` made") -> None:
    """The positional argument DATASET."""
    parser.add_argument("dataset", type=plain_path, metavar="DATASET", help=says)


def add_clips(parser: argparse.ArgumentParser) -> None:
    """The positional arguments INPUT."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="video files, folders, patterns such as 'clips/*.mp4', or a manifest (.csv, .jsonl, .parquet)",
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """`--workers`."""
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes on this machine (default: 1)"
    )


def add_focal_px(parser: argparse.ArgumentParser) -> None:
    """`--focal-px`."""
    parser.add_argument(
        "--focal-px",
        type=float,
        metavar="PX",
        help="focal length in pixels of the full image, where it is known",
    )


def add_pipeline_settings(parser: argparse.ArgumentParser, *, default: str | None = "paper") -> None:
    """`--preset` and `--set` of the pipeline."""
    add_settings(parser, PRESETS, default=default, see=SEE_SETTINGS)


def settings_from(options: argparse.Namespace, first: Iterable[str] = ()) -> Settings:
    """The settings of `--preset`, with the overrides `first` and then those of `--set`."""
    return with_overrides(preset(options.preset or "paper"), [*first, *options.overrides])
