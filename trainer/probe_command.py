"""`python -m trainer probe`: its arguments, and what is done with them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from schemas.places import folder_to_write, plain_path


def add_command(commands: Any) -> None:
    """Adds `probe` to the commands of a parser."""
    probe = commands.add_parser(
        "probe", help="optimise per-sample offsets directly, without a network: what the losses can recover"
    )
    probe.add_argument("dataset", type=plain_path)
    probe.add_argument(
        "--out", metavar="PATH", type=folder_to_write, required=True, help="folder for one npz per sample"
    )
    probe.add_argument(
        "--truth",
        metavar="FOLDER",
        help="folder that `python -m pipeline truth` wrote: also report the share of the error recovered",
    )
    probe.add_argument(
        "--sample", metavar="ID", dest="sample_ids", action="append", default=[], help="sample id; repeatable"
    )
    probe.add_argument(
        "--per-track", metavar="N", type=int, help="this many samples of every track, evenly spread"
    )
    probe.add_argument(
        "--references", metavar="N", type=int, default=6, help="references per sample, at most (default 6)"
    )
    probe.add_argument(
        "--steps", metavar="N", type=int, default=120, help="steps of the optimiser (default 120)"
    )
    probe.add_argument(
        "--batch", metavar="N", type=int, default=4, help="samples optimised together (default 4)"
    )
    probe.add_argument(
        "--set", dest="overrides", metavar="FIELD=VALUE", action="append", default=[],
        help="change a setting of the losses, for example photo_px=512",
    )  # fmt: skip
    probe.add_argument(
        "--corrections",
        action="store_true",
        help="also optimise small corrections of the motion of every pair",
    )
    probe.add_argument(
        "--device", metavar="DEVICE", help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)"
    )
    probe.set_defaults(command=_probe)


def _probe(options: argparse.Namespace) -> int:
    from schemas.errors import SettingsError
    from schemas.settings import with_overrides
    from trainer.config import CorrectionSettings
    from trainer.probe import PROBE_LOSSES, ProbeSettings
    from trainer.probed_files import probe_into

    for name in ("per_track", "references", "batch"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise SettingsError(f"--{name.replace('_', '-')} cannot be {value}.", remedy="Give 1 or more.")
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
    )
    print(said)
    return 0
