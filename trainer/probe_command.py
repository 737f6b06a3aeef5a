"""`python -m trainer probe`: its arguments, and what is done with them."""

from __future__ import annotations

import argparse
from pathlib import Path

from schemas.command_line import Commands, add_overrides, at_least_one
from schemas.places import folder_to_write, plain_path
from trainer.arguments import add_device, add_samples


def add_to(commands: Commands) -> None:
    """Adds the command."""
    probe = commands.add(
        "probe",
        "optimise the depth of single samples directly, without a network",
        about="What comes out is what the losses alone can recover from these data.",
        examples=[
            "dataset --per-track 2 --truth truth --out probed",
            "dataset --per-track 2 --checkpoint checkpoint --out probed",
        ],
    )
    probe.add_argument("dataset", type=plain_path, metavar="DATASET", help="a dataset folder")
    probe.add_argument(
        "--out", type=folder_to_write, required=True, metavar="FOLDER", help="where one .npz per sample goes"
    )
    probe.add_argument(
        "--truth",
        metavar="FOLDER",
        help="what `python -m pipeline studio truth` wrote: also report what was recovered",
    )
    probe.add_argument(
        "--checkpoint",
        type=plain_path,
        metavar="FOLDER",
        help="begin at what this network predicts, not at the base depth",
    )
    add_samples(probe)
    probe.add_argument(
        "--references", type=int, default=6, metavar="N", help="at most this many (default: 6)"
    )
    probe.add_argument(
        "--steps", type=int, default=120, metavar="N", help="steps of the optimiser (default: 120)"
    )
    probe.add_argument(
        "--batch", type=int, default=4, metavar="N", help="samples optimised together (default: 4)"
    )
    add_overrides(probe, what="the losses", see="for example photo_px=512", form="FIELD=VALUE")
    probe.add_argument(
        "--corrections", action="store_true", help="also optimise small corrections of every pair's motion"
    )
    add_device(probe)
    probe.set_defaults(command=_probe)


def _probe(options: argparse.Namespace) -> int:
    from schemas.settings import with_overrides
    from trainer.checkpoint import load_checkpoint
    from trainer.config import CorrectionSettings
    from trainer.probe import PROBE_LOSSES, ProbeSettings
    from trainer.probed_files import probe_into

    at_least_one(options, "per_track", "references", "batch")
    said = probe_into(
        Path(options.out),
        options.dataset,
        with_overrides(PROBE_LOSSES, options.overrides),
        ProbeSettings(
            steps=options.steps, corrections=CorrectionSettings(learn=True) if options.corrections else None
        ),
        truths=Path(options.truth) if options.truth else None,
        sample_ids=options.sample_ids,
        per_track=options.per_track,
        references=options.references,
        batch_size=options.batch,
        device=options.device,
        checkpoint=load_checkpoint(options.checkpoint) if options.checkpoint else None,
    )
    print(said)
    return 0
