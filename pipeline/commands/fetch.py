"""The command `fetch`."""

from __future__ import annotations

import argparse

from schemas.command_line import Commands


def add_to(commands: Commands) -> None:
    """Adds the command."""
    fetch = commands.add(
        "fetch",
        "download models and the demo clip into the cache",
        about="Every file is checked against its SHA-256. The cache is ~/.cache/humandepth, or HUMANDEPTH_CACHE.",
        examples=["", "pose_landmark_heavy.tflite"],
    )
    fetch.add_argument(
        "names", nargs="*", metavar="FILE", help="what to fetch (default: all that the demo needs)"
    )
    fetch.set_defaults(command=_fetch)


def _fetch(options: argparse.Namespace) -> int:
    from pipeline.download.packages import fetch

    fetch(options.names or None)
    return 0
