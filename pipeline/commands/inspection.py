"""The command `inspect`: one clip tracked and drawn, before a run."""

from __future__ import annotations

import argparse

from pipeline.commands.arguments import add_focal_px, add_pipeline_settings, settings_from
from schemas.command_line import Commands
from schemas.escaping import shown


def add_to(commands: Commands) -> None:
    """Adds the command."""
    inspect = commands.add(
        "inspect",
        "track one clip and draw the bodies over it, before a run",
        about="Writes overlay.mp4 (mesh, landmarks, ids, why frames are dropped) and contact-sheet.jpg.",
        examples=["clip.mp4 --out seen", "clip.mp4 --out seen --start-s 10 --end-s 20"],
    )
    inspect.add_argument("clip", metavar="CLIP", help="a video file")
    inspect.add_argument(
        "--out", required=True, metavar="FOLDER", help="where overlay.mp4 and contact-sheet.jpg go"
    )
    inspect.add_argument(
        "--rerun",
        action="store_true",
        help="also write recording.rrd for the rerun viewer (pip install 'humandepth[rerun]')",
    )
    add_focal_px(inspect)
    inspect.add_argument("--start-s", type=float, metavar="S", help="begin at this second of the clip")
    inspect.add_argument("--end-s", type=float, metavar="S", help="stop at this second of the clip")
    add_pipeline_settings(inspect)
    inspect.set_defaults(command=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    from dataclasses import replace
    from pathlib import Path

    from pipeline.inspection.clip_inspection import inspect_clip
    from pipeline.video.source import clips_from_arguments
    from schemas.errors import SourceError

    settings = settings_from(options)
    clips = clips_from_arguments([options.clip], focal_px=options.focal_px)
    if len(clips) != 1:
        raise SourceError(f"{options.clip} names {len(clips)} clips.", remedy="Name one clip.")
    clip = replace(clips[0], start_s=options.start_s, end_s=options.end_s)
    made = inspect_clip(clip, Path(options.out), settings, with_rerun=options.rerun)
    for track_id, frames, kept in made.tracks:
        print(f"{track_id}: {frames} frames, {kept} kept")
    if not made.tracks:
        print("nobody was tracked")
    print(
        f"wrote {shown(made.film)} ({made.frames} frames), {shown(made.sheet)}"
        + (f", {shown(made.recording)}" if made.recording else "")
    )
    return 0
