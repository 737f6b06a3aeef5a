"""The command `plan`: arguments to settings, nothing else."""

from __future__ import annotations

import argparse
import math

from pipeline.commands.arguments import add_clips, add_pipeline_settings, add_workers, settings_from
from schemas.command_line import Commands, at_least_one
from schemas.errors import SettingsError
from schemas.places import folder_or_bucket, plain_path


def add_to(commands: Commands) -> None:
    """Adds the command."""
    plan = commands.add(
        "plan",
        "estimate what a run would cost: units, hours, disk, memory",
        examples=[
            "clips/",
            "clips/ --like small-dataset --workers 8",
            "clips.csv --sample 1000 --price-per-core-hour 0.04",
            "clips/ --clips 1000000 --like small-dataset --price-per-core-hour 0.04",
        ],
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
    plan.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="probe N clips at random and scale up, with a 95 %% interval (default: probe all, about 70 ms of a core "
        "each, on all cores)",
    )
    plan.add_argument("--seed", type=int, default=6666, metavar="S", help="of the sample (default: 6666)")
    plan.add_argument(
        "--clips", type=int, metavar="N", help="scale up to N clips like these, for a manifest yet to come"
    )
    plan.add_argument(
        "--price-per-core-hour",
        type=float,
        metavar="P",
        help="also print core hours by stage, their price at P an hour, and requests to an object store",
    )
    add_workers(plan)
    add_pipeline_settings(plan)
    plan.set_defaults(command=_plan)


def _plan(options: argparse.Namespace) -> int:
    from pipeline.runner.planning import plan, print_plan
    from pipeline.video.source import clips_from_arguments

    at_least_one(options, "workers", "sample", "clips")
    price = options.price_per_core_hour
    if price is not None and not 0 <= price < math.inf:
        raise SettingsError(f"--price-per-core-hour cannot be {price:g}.", remedy="Give 0 or more.")
    settings = settings_from(options)
    clips = clips_from_arguments(options.inputs)
    if options.clips is not None and options.clips < len(clips):
        raise SettingsError(
            f"--clips {options.clips} is fewer than the {len(clips)} clips that are named.",
            remedy="Leave it out, or use --sample.",
        )
    found = plan(
        clips,
        settings,
        out=options.out,
        like=options.like,
        workers=options.workers,
        sample=options.sample,
        seed=options.seed,
        as_many_as=options.clips,
        price_per_core_hour=price,
    )
    print_plan(found, with_bill=price is not None)
    return 0
