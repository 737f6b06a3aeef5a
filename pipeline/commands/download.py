"""The command `download`: its arguments, and what it says at the end."""

from __future__ import annotations

import argparse
from pathlib import Path

from schemas.errors import SettingsError
from schemas.escaping import shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `python -m pipeline download` takes."""
    parser.add_argument(
        "addresses", nargs="+", help="YouTube ids, https:// addresses of videos or play lists"
    )
    parser.add_argument("--out", required=True, help="folder; goes on where an earlier download stopped")
    parser.add_argument("--rate-mb-per-s", type=float, default=4.0, help="at most this fast (default 4)")
    parser.add_argument("--pause-s", type=float, default=5.0, help="pause between videos (default 5)")
    parser.add_argument("--max-gb", type=float, default=4.0, help="refuse larger files (default 4)")
    parser.add_argument(
        "--max-height-px", type=int, default=1080, help="largest picture height (default 1080)"
    )
    parser.add_argument(
        "--allow-private", action="store_true", help="also http:// and servers in private networks"
    )


def download(options: argparse.Namespace) -> int:
    """Fetches one address after the other. Returns the exit code."""
    from pipeline.download.collection import Collection
    from pipeline.download.video_site import YtDlpSite

    for name in ("rate_mb_per_s", "max_gb", "max_height_px"):
        if not getattr(options, name) > 0:
            flag = "--" + name.replace("_", "-")
            raise SettingsError(f"{flag} cannot be {getattr(options, name)}.", remedy="Give a value above 0.")
    site = YtDlpSite(
        rate_mb_per_s=options.rate_mb_per_s,
        max_gb=options.max_gb,
        max_height_px=options.max_height_px,
        allow_private=options.allow_private,
    )
    outcome = Collection(Path(options.out)).download(
        options.addresses,
        site,
        pause_s=max(0.0, options.pause_s),
        allow_private=options.allow_private,
        say=lambda line: print(shown(line)),
    )
    had = len(outcome.fetched) + len(outcome.already_there)
    print(
        f"{len(outcome.fetched)} fetched, {len(outcome.already_there)} already there, {len(outcome.failures)} failed"
    )
    print(f"next: python -m pipeline run {shown(options.out)}/clips.jsonl --out dataset")
    return 0 if not outcome.failures else 3 if had else 1
