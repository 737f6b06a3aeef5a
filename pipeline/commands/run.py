"""The command `run`: arguments to settings, nothing else."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pipeline.commands.arguments import (
    add_clips,
    add_focal_px,
    add_pipeline_settings,
    add_workers,
    settings_from,
)
from pipeline.runner.engines import NAMES
from schemas.command_line import Commands
from schemas.escaping import shown
from schemas.places import plain_path

if TYPE_CHECKING:
    from pipeline.dataset.clip_shards import ClipShard
    from pipeline.records import ClipRef


def add_to(commands: Commands) -> None:
    """Adds the command."""
    run = commands.add(
        "run",
        "preprocess clips into a dataset; goes on where an earlier run stopped",
        about="What follows a lone -- are options of the engine, for example those of a cluster: Apache Beam's, or "
        "settings of Spark.",
        examples=[
            "clips/ --out dataset --workers 4",
            "clips.csv --out dataset --preset released --set pairs.max_references=8",
            "clips.csv --out part-0 --shard 0/3",
            "clips.csv --out gs://bucket/dataset -- --runner=DataflowRunner --project=P --region=R",
            "clips.csv --out dataset --engine spark --master spark://host:7077 -- spark.executor.memory=4g",
        ],
    )
    add_clips(run)
    run.add_argument(
        "--out",
        type=plain_path,
        required=True,
        metavar="DATASET",
        help="dataset folder, or an address in a bucket (gs://, s3://)",
    )
    add_workers(run)
    run.add_argument(
        "--engine",
        choices=NAMES,
        default="beam",
        help="what carries the run out: Apache Beam, Spark, or a plain loop (default: beam)",
    )
    run.add_argument(
        "--master",
        metavar="URL",
        help="Spark's master, such as spark://host:7077, yarn or local-cluster[2,1,2048] (default: local[WORKERS])",
    )
    add_focal_px(run)
    run.add_argument(
        "--retry-failed",
        nargs="?",
        const="",
        metavar="REASON",
        help="try failed units again: those with this reason in the table `failures`, or all",
    )
    run.add_argument(
        "--shard",
        metavar="I/N",
        help="only the clips whose hash of clip_id falls to shard I of N, from 0 to N - 1; in a task of a Slurm array "
        "that shard by default, 0/1 takes all",
    )
    run.add_argument(
        "--selection",
        metavar="DATASET:NAME",
        help="use the limits of a saved selection as this run's gates; fails if one of them has no matching setting",
    )
    run.add_argument(
        "--settings-from",
        choices=("dataset", "command"),
        help="if the folder was made with other settings: `dataset` goes on with the folder's, "
        "`command` makes it again with those given here",
    )
    add_pipeline_settings(run)
    run.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    from pipeline.audit.gates import overrides_from_name
    from pipeline.dataset.clip_shards import shard_from_slurm, shard_from_text
    from pipeline.host.loading import without_pandas
    from pipeline.runner.driver import run
    from pipeline.runner.engines import make_engine
    from pipeline.runner.summary import print_run
    from pipeline.video.source import clips_from_arguments

    shard = shard_from_text(options.shard) if options.shard else shard_from_slurm(os.environ)
    settings = settings_from(options, overrides_from_name(options.selection))
    # Spark's Python needs pandas, and a cluster's Beam may. Wrong usage is said before any input is looked at.
    is_plain = options.engine == "beam" and not options.beam_args
    with without_pandas() if is_plain else nullcontext():
        engine = make_engine(
            options.engine, workers=options.workers, master=options.master, arguments=options.beam_args
        )
    clips = clips_from_arguments(options.inputs, focal_px=options.focal_px)
    is_empty = shard is not None and _say_shard(shard, clips, options)
    summary = run(
        clips,
        options.out,
        settings,
        engine=engine,
        retry=options.retry_failed,
        isolated=True,
        settings_from=options.settings_from,
        shard=shard,
    )
    if is_empty:
        return 0
    print_run(summary, options.out)
    return summary.exit_code_for(settings.run.max_failed_share)


def _say_shard(shard: ClipShard, clips: list[ClipRef], options: argparse.Namespace) -> bool:
    """Whether no clip falls to a shard; how many do is said, because the rest of the manifest is left to others."""
    count = len(shard.clips(clips))
    why = "" if options.shard else " (by SLURM_ARRAY_TASK_ID; --shard 0/1 takes all)"
    nothing = "" if count else ": nothing to do"
    print(shown(f"shard {shard}{why}: {count} of {len(clips)} clip(s){nothing}"), file=sys.stderr)
    return count == 0
