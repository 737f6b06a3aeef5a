"""`python -m pipeline COMMAND` (fetch, download, run, inspect, audit, ...): arguments to settings, nothing else."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pipeline.commands.audit import add_arguments
from pipeline.commands.audit import audit as audit_command
from pipeline.commands.body import add_commands as add_body_commands
from pipeline.commands.download import add_arguments as add_download_arguments
from pipeline.commands.download import download as download_command
from pipeline.commands.run import add_commands as add_run_commands
from pipeline.commands.run import add_settings
from pipeline.commands.studio import add_commands as add_studio_commands
from pipeline.commands.view import add_arguments as add_view_arguments
from pipeline.commands.view import view as view_command
from pipeline.host.logs import quieten_libraries
from schemas.errors import HumandepthError
from schemas.escaping import escape_on_terminal, shown
from schemas.places import about_argument, existing_path, file_to_write, plain_path

_DESCRIPTION = "From video clips to a Parquet dataset for learning the depth of people."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 2 usage, 1 error, 3 some clips failed, 4 nothing, 5 too few kept."""
    escape_on_terminal()
    arguments, beam_args = _split_beam_arguments(list(sys.argv[1:] if argv is None else argv))
    quieten_libraries()
    options = argparse.Namespace()
    try:
        options = _parser().parse_args(arguments)
        options.beam_args = beam_args
        return int(options.command(options))
    except HumandepthError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        known = about_argument(error, vars(options).values())
        if known is None:
            raise
        print(f"error: {known}", file=sys.stderr)
        return known.exit_code
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in ("schemas", "pipeline"):
            raise
        print(
            f"error: {error.name} is not installed. Run: pip install 'humandepth[pipeline]'", file=sys.stderr
        )
        return 1


def _split_beam_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What follows a lone `--` goes to Beam unread."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=_DESCRIPTION)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    fetch = commands.add_parser(
        "fetch", help="download models and the demo clip into the cache, with SHA-256 checks"
    )
    fetch.add_argument("names", nargs="*", help="assets to fetch (default: all that the demo needs)")
    fetch.set_defaults(command=_fetch)

    download = commands.add_parser(
        "download",
        help="fetch YouTube ids or web addresses into a folder, with an archive of what was fetched",
    )
    add_download_arguments(download)
    download.set_defaults(command=download_command)

    add_run_commands(commands)

    audit = commands.add_parser("audit", help="what was kept, what was dropped, and why")
    add_arguments(audit)
    audit.set_defaults(command=audit_command)

    gallery = commands.add_parser(
        "gallery", help="a page of pictures: photo, body, depth, motion, validity, refined depth"
    )
    gallery.add_argument("dataset", type=plain_path)
    gallery.add_argument(
        "--out",
        type=file_to_write,
        required=True,
        help="HTML file to write, or a JPEG or PNG with the same pictures",
    )
    gallery.add_argument("--predictions", type=existing_path, help="folder of `python -m trainer predict`")
    gallery.add_argument("--per-track", type=int, default=3, help="frames shown of every person (default 3)")
    gallery.set_defaults(command=_gallery)

    inspect = commands.add_parser(
        "inspect", help="overlay film and contact sheet of one clip: mesh, landmarks, ids, gate reasons"
    )
    inspect.add_argument("clip", help="a video file")
    inspect.add_argument("--out", required=True, help="folder for overlay.mp4 and contact-sheet.jpg")
    inspect.add_argument("--rerun", action="store_true", help="also write recording.rrd for the rerun viewer")
    inspect.add_argument(
        "--focal-px", type=float, help="focal length of the full image in pixels, where known"
    )
    inspect.add_argument("--start-s", type=float, help="begin at this time of the clip")
    inspect.add_argument("--end-s", type=float, help="stop at this time of the clip")
    add_settings(inspect)
    inspect.set_defaults(command=_inspect)

    view = commands.add_parser("view", help="one frame or pair of a dataset as .png, .gif or .rrd")
    add_view_arguments(view)
    view.set_defaults(command=view_command)

    verify = commands.add_parser(
        "verify",
        help="rehash every shard, check columns and references between tables, render some rows again",
    )
    verify.add_argument("dataset", type=plain_path)
    verify.add_argument("--render", type=int, default=8, help="samples to render again (default 8; 0: none)")
    verify.add_argument(
        "--view", metavar="NAME", help="also check what a saved view keeps, and render samples of it again"
    )
    verify.set_defaults(command=_verify)

    forget = commands.add_parser("forget", help="remove every row of a source, for good")
    forget.add_argument("dataset", type=plain_path)
    forget.add_argument("--source", required=True, metavar="ID", help="the `source_id`")
    forget.set_defaults(command=_forget)

    compact = commands.add_parser("compact", help="put small shards together: the same rows in fewer files")
    compact.add_argument("dataset", type=plain_path)
    compact.add_argument("--megabytes", type=float, default=256, help="size of a file (default 256)")
    compact.set_defaults(command=_compact)

    doctor = commands.add_parser(
        "doctor", help="what works on this machine, and the remedy for what does not"
    )
    doctor.set_defaults(command=_doctor)

    add_studio_commands(commands)
    add_body_commands(commands)
    columns = commands.add_parser("columns", help="print the tables and their columns as Markdown")
    columns.set_defaults(command=_columns)
    return parser


def _fetch(options: argparse.Namespace) -> int:
    from pipeline.download.packages import fetch

    fetch(options.names or None)
    return 0


def _forget(options: argparse.Namespace) -> int:
    from pipeline.dataset.forgetting import forget

    units = forget(options.dataset, options.source)
    print(f"{shown(options.dataset)}: {units} unit(s) of source {options.source!r} removed")
    return 0


def _compact(options: argparse.Namespace) -> int:
    from pipeline.dataset.compaction import compact_dataset

    done = compact_dataset(options.dataset, int(options.megabytes * 2**20))
    print(
        f"{shown(options.dataset)}: {done.files_before} files before, {done.files_after} now, the same rows"
    )
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from pipeline.commands.doctor import examine, print_findings

    findings = examine()
    print_findings(findings)
    return 1 if any(finding.is_fatal for finding in findings) else 0


def _gallery(options: argparse.Namespace) -> int:
    from pipeline.audit.gallery import write_gallery
    from schemas.dataset import Dataset

    drawn = write_gallery(
        Dataset.open(options.dataset), options.out, options.predictions, per_track=options.per_track
    )
    print(f"wrote {shown(options.out)} ({drawn} frames)")
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from dataclasses import replace
    from pathlib import Path

    from pipeline.config import preset
    from pipeline.inspection.clip_inspection import inspect_clip
    from pipeline.video.source import clips_from_arguments
    from schemas.errors import SourceError
    from schemas.settings import with_overrides

    settings = with_overrides(preset(options.preset), options.overrides)
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


def _verify(options: argparse.Namespace) -> int:
    from pipeline.dataset.verification import verify

    report = verify(options.dataset, render=options.render, view=options.view)
    for problem in report.problems:
        print(f"error: {shown(problem)}", file=sys.stderr)
    if not report.problems:
        print(f"{shown(options.dataset)}: {report.units} units, content hash {report.content_hash}")
        if options.view:
            print(f"view {options.view}: keeps {report.samples} samples with {report.references} references")
        print(f"{report.rendered} of {report.samples} samples rendered again: {report.render_note}")
    return 1 if report.problems else 0


def _columns(options: argparse.Namespace) -> int:
    from pipeline.dataset.card import column_tables

    print(column_tables())
    return 0
