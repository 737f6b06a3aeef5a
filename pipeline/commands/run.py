"""`python -m pipeline run` and `plan`: arguments to settings, nothing else."""

from __future__ import annotations

import argparse
from typing import Any

from schemas.places import folder_or_bucket, plain_path


def add_commands(commands: Any) -> None:
    """Adds the commands to argparse's subparsers."""
    run = commands.add_parser(
        "run", help="preprocess clips into a dataset; goes on where an earlier run stopped"
    )
    run.add_argument(
        "inputs", nargs="+", help="video files, folders, globs, or a manifest (.csv, .jsonl, .parquet)"
    )
    run.add_argument(
        "--out", type=plain_path, required=True, help="dataset folder, or a bucket Beam can write to"
    )
    run.add_argument("--workers", type=int, default=1, help="processes on this machine (default 1)")
    run.add_argument("--focal-px", type=float, help="focal length of the full image in pixels, where known")
    run.add_argument(
        "--retry-failed",
        nargs="?",
        const="",
        metavar="REASON",
        help="try failed units again: those of a reason (see the table `failures`), or all",
    )
    run.add_argument(
        "--view",
        metavar="DATASET:NAME",
        help="take a saved view's limits as the gates of this run; refused where no setting says the same",
    )
    run.add_argument(
        "--settings-from",
        choices=("dataset", "command"),
        help="where the folder was made with other settings: go on with its own, or make it again with these",
    )
    add_settings(run)
    run.set_defaults(command=_run)

    plan = commands.add_parser("plan", help="what a run would cost: units, hours, bytes, memory")
    plan.add_argument("inputs", nargs="+", help="as for `run`")
    plan.add_argument(
        "--out", type=folder_or_bucket, help="the dataset folder that is to be made or gone on with"
    )
    plan.add_argument("--like", type=plain_path, help="a dataset whose measured costs are taken")
    plan.add_argument("--workers", type=int, default=1, help="processes on this machine (default 1)")
    add_settings(plan)
    plan.set_defaults(command=_plan)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """`--preset` and `--set` of commands that take the pipeline's settings."""
    parser.add_argument("--preset", default="paper", help="`paper` (default), `paper-exact` or `released`")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="SECTION.FIELD=VALUE",
        action="append",
        default=[],
        help="change a setting",
    )


def _run(options: argparse.Namespace) -> int:
    from pipeline.audit.gates import overrides_from_name
    from pipeline.config import preset
    from pipeline.runner.beam_options import pipeline_options
    from pipeline.runner.driver import run
    from pipeline.runner.summary import print_run
    from pipeline.video.source import clips_from_arguments
    from schemas.settings import with_overrides

    settings = with_overrides(
        preset(options.preset), [*overrides_from_name(options.view), *options.overrides]
    )
    pipeline_options(options.workers, options.beam_args)  # wrong usage is said before any input is looked at
    clips = clips_from_arguments(options.inputs, focal_px=options.focal_px)
    summary = run(
        clips,
        options.out,
        settings,
        workers=options.workers,
        beam_args=options.beam_args,
        retry=options.retry_failed,
        isolated=True,
        settings_from=options.settings_from,
    )
    print_run(summary, options.out)
    return summary.exit_code_for(settings.run.max_failed_share)


def _plan(options: argparse.Namespace) -> int:
    from pipeline.config import preset
    from pipeline.runner.planning import plan, print_plan
    from pipeline.video.source import clips_from_arguments
    from schemas.settings import with_overrides

    settings = with_overrides(preset(options.preset), options.overrides)
    clips = clips_from_arguments(options.inputs)
    print_plan(plan(clips, settings, out=options.out, like=options.like, workers=options.workers))
    return 0
