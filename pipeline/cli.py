"""`python -m pipeline fetch | run | audit | gallery | verify`: arguments to settings, nothing else."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from pipeline.studio.commands import add_commands as add_studio_commands
from schemas.errors import HumandepthError

_DESCRIPTION = "From video clips to a Parquet dataset for learning the depth of people."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 2 usage, 1 error, 3 some clips failed, 4 nothing kept."""
    arguments, beam_args = _split_beam_arguments(list(sys.argv[1:] if argv is None else argv))
    options = _parser().parse_args(arguments)
    options.beam_args = beam_args
    _quieten_libraries()
    try:
        return int(options.command(options))
    except HumandepthError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in ("schemas", "pipeline"):
            raise
        print(
            f"error: {error.name} is not installed. Run: pip install 'humandepth[pipeline]'", file=sys.stderr
        )
        return 1


def _quieten_libraries() -> None:
    """Libraries' warnings are not shown (Beam has one at import that nobody can act on); ours are, as plain lines."""
    logging.getLogger().setLevel(logging.ERROR)
    ours = logging.getLogger("pipeline")
    if not ours.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        ours.addHandler(handler)
        ours.setLevel(logging.WARNING)
        ours.propagate = False


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

    run = commands.add_parser(
        "run", help="preprocess clips into a dataset; goes on where an earlier run stopped"
    )
    run.add_argument(
        "inputs", nargs="+", help="video files, folders, globs, or a manifest (.csv, .jsonl, .parquet)"
    )
    run.add_argument("--out", required=True, help="dataset folder, or a bucket Beam can write to")
    run.add_argument("--workers", type=int, default=1, help="processes on this machine (default 1)")
    run.add_argument("--focal-px", type=float, help="focal length of the full image in pixels, where known")
    _add_settings(run)
    run.set_defaults(command=_run)

    audit = commands.add_parser("audit", help="what was kept, what was dropped, and why")
    audit.add_argument("dataset")
    audit.add_argument("--json", help="also write every figure to this file")
    audit.set_defaults(command=_audit)

    gallery = commands.add_parser(
        "gallery", help="a page of pictures: photo, body, depth, motion, validity, refined depth"
    )
    gallery.add_argument("dataset")
    gallery.add_argument(
        "--out", required=True, help="HTML file to write, or a JPEG or PNG with the same pictures"
    )
    gallery.add_argument("--predictions", help="folder of `python -m trainer predict`")
    gallery.add_argument("--per-track", type=int, default=3, help="frames shown of every person (default 3)")
    gallery.set_defaults(command=_gallery)

    verify = commands.add_parser("verify", help="rehash every shard and check its columns")
    verify.add_argument("dataset")
    verify.set_defaults(command=_verify)

    add_studio_commands(commands)
    columns = commands.add_parser("columns", help="print the tables and their columns as Markdown")
    columns.set_defaults(command=_columns)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", default="paper", help="`paper` (default) or `released`")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="SECTION.FIELD=VALUE",
        action="append",
        default=[],
        help="change a setting",
    )


def _fetch(options: argparse.Namespace) -> int:
    from pipeline.assets import fetch

    fetch(options.names or None)
    return 0


def _run(options: argparse.Namespace) -> int:
    from pipeline.config import preset
    from pipeline.run import pipeline_options, run
    from pipeline.summary import print_run
    from pipeline.video.source import clips_from_arguments
    from schemas.settings import with_overrides

    settings = with_overrides(preset(options.preset), options.overrides)
    pipeline_options(options.workers, options.beam_args)  # wrong usage is said before any input is looked at
    clips = clips_from_arguments(options.inputs, focal_px=options.focal_px)
    summary = run(clips, options.out, settings, workers=options.workers, beam_args=options.beam_args)
    print_run(summary, options.out)
    return summary.exit_code


def _audit(options: argparse.Namespace) -> int:
    from pipeline.audit.figures import audit_figures, print_audit, write_figures
    from schemas.dataset import Dataset

    figures = audit_figures(Dataset.open(options.dataset))
    print_audit(figures)
    if options.json:
        write_figures(figures, options.json)
    return 0


def _gallery(options: argparse.Namespace) -> int:
    from pipeline.audit.gallery import write_gallery
    from schemas.dataset import Dataset

    shown = write_gallery(
        Dataset.open(options.dataset), options.out, options.predictions, per_track=options.per_track
    )
    print(f"wrote {options.out} ({shown} frames)")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from schemas.dataset import Dataset

    dataset = Dataset.open(options.dataset)
    problems = dataset.verify()
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if not problems:
        print(f"{options.dataset}: {len(dataset.records)} units, content hash {dataset.content_hash()}")
    return 1 if problems else 0


def _columns(options: argparse.Namespace) -> int:
    from pipeline.card import column_tables

    print(column_tables())
    return 0
