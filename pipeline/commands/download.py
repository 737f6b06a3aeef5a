"""The command `download`: its arguments, and what it says at the end."""

from __future__ import annotations

import argparse
from pathlib import Path

from schemas.command_line import Commands
from schemas.errors import SettingsError
from schemas.escaping import shown


def add_to(commands: Commands) -> None:
    """Adds the command."""
    download = commands.add(
        "download",
        "fetch YouTube videos or web addresses into a folder",
        about="Videos come one after the other, with pauses. An archive in the folder says what was fetched, so the "
        "same command goes on where it stopped. Needs pip install 'humandepth[youtube]'.",
        examples=[
            "dQw4w9WgXcQ https://example.org/walk.mp4 --out web",
            "--out web -- -wNyEUrxzFU",
        ],
    )
    download.add_argument(
        "addresses",
        nargs="+",
        metavar="ADDRESS",
        help="YouTube ids, https:// addresses of videos or play lists; an id that begins with a dash after --",
    )
    download.add_argument("--out", required=True, metavar="FOLDER", help="where videos and clips.jsonl go")
    download.add_argument(
        "--rate-mb-per-s",
        type=float,
        default=4.0,
        metavar="MB",
        help="megabytes per second at most (default: 4)",
    )
    download.add_argument(
        "--pause-s", type=float, default=5.0, metavar="S", help="seconds between videos (default: 5)"
    )
    download.add_argument(
        "--max-gb", type=float, default=4.0, metavar="GB", help="refuse larger files (default: 4)"
    )
    download.add_argument(
        "--max-height-px", type=int, default=1080, metavar="PX", help="largest picture height (default: 1080)"
    )
    download.add_argument(
        "--allow-private", action="store_true", help="also fetch from http:// and from private networks"
    )
    download.set_defaults(command=_download)


def _download(options: argparse.Namespace) -> int:
    """Fetches one address after the other. Returns the exit code."""
    from pipeline.download.collection import Collection
    from pipeline.download.video_site import YtDlpSite

    for name in ("rate_mb_per_s", "max_gb", "max_height_px"):
        if not getattr(options, name) > 0:
            flag = "--" + name.replace("_", "-")
            raise SettingsError(f"{flag} cannot be {getattr(options, name)}.", remedy="Give a value above 0.")
    if not options.pause_s >= 0:
        raise SettingsError(f"--pause-s cannot be {options.pause_s}.", remedy="Give 0 or more seconds.")
    site = YtDlpSite(
        rate_mb_per_s=options.rate_mb_per_s,
        max_gb=options.max_gb,
        max_height_px=options.max_height_px,
        allow_private=options.allow_private,
    )
    outcome = Collection(Path(options.out)).download(
        options.addresses,
        site,
        pause_s=options.pause_s,
        allow_private=options.allow_private,
        say=lambda line: print(shown(line)),
    )
    had = len(outcome.fetched) + len(outcome.already_there)
    print(
        f"{len(outcome.fetched)} fetched, {len(outcome.already_there)} already there, {len(outcome.failures)} failed"
    )
    if had:
        print(f"next: python -m pipeline run {shown(options.out)}/clips.jsonl --out dataset")
    return 0 if not outcome.failures else 3 if had else 1
