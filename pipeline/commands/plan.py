"""The command `plan`: arguments to settings, nothing else."""

from __future__ import annotations

import argparse

from pipeline.commands.arguments import add_clips, add_pipeline_settings, add_workers, settings_from
from schemas.command_line import Commands, at_least_one
from schemas.places import folder_or_bucket, plain_path


def add_to(commands: Commands) -> None:
    """Adds the command."""
    plan = commands.add(
        "plan",
        "estimate what a run would cost: units, hours, disk, memory",
        examples=["clips/", "clips/ --like small-dataset --workers 8"],
    )
    add_clips(plan)
    plan.add_argument(
        "--out",
        type=folder_or_bucket,
        metavar="DATASET",
        help="the dataset folder the run will write to: what is finished there is not counted",
    )
    plan.add_argument(
        "--like", type=plain_path, metavar="DATASET", help="take the measured costs of the run that made this"
    )
    add_workers(plan)
    add_pipeline_settings(plan)
    plan.set_defaults(command=_plan)


def _plan(options: argparse.Namespace) -> int:
    from pipeline.runner.planning import plan, print_plan
    from pipeline.video.source import clips_from_arguments

    at_least_one(options, "workers")
    settings = settings_from(options)
    clips = clips_from_arguments(options.inputs)
    print_plan(plan(clips, settings, out=options.out, like=options.like, workers=options.workers))
    return 0
