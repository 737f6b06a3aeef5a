"""`python -m trainer fit | predict`: arguments to settings, nothing else."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from schemas.errors import HumandepthError

_DESCRIPTION = "Learn the depth of people from a dataset that the pipeline made, and predict it for photos."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 2 wrong usage, 1 any other error."""
    options = _parser().parse_args(argv)
    # Read when torch loads its threads. Threads that spin while they wait make a step ten times slower on a machine
    # that has anything else to do (measured: 16 s against 1.5 s with three other processes on two cores).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return int(options.command(options))
    except HumandepthError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in ("schemas", "trainer"):
            raise
        extra = "pipeline,trainer" if options.command is _predict else "trainer"
        print(
            f"error: {error.name} is not installed. Run: pip install 'humandepth[{extra}]'", file=sys.stderr
        )
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer", description=_DESCRIPTION)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    fit = commands.add_parser("fit", help="train ReconNet on a dataset")
    fit.add_argument("dataset", help="folder that `python -m pipeline run --out` made")
    fit.add_argument("--out", required=True, help="checkpoint folder")
    fit.add_argument("--resume", action="store_true", help="go on with the checkpoint in --out")
    fit.add_argument("--preset", default="paper", help="`paper` (default), `released` or `small`")
    fit.add_argument(
        "--set",
        dest="overrides",
        metavar="SECTION.FIELD=VALUE",
        action="append",
        default=[],
        help="change a setting",
    )
    fit.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)")
    fit.set_defaults(command=_fit)

    predict = commands.add_parser("predict", help="depth of photos, or of rows of a dataset")
    predict.add_argument("photos", nargs="*", help="photo files")
    predict.add_argument("--checkpoint", required=True)
    predict.add_argument("--out", required=True, help="folder for the results")
    predict.add_argument("--dataset", help="predict rows of this dataset instead of photos")
    predict.add_argument(
        "--sample", dest="sample_ids", action="append", default=[], help="sample id; repeatable"
    )
    predict.add_argument("--per-track", type=int, help="this many samples of every track, evenly spread")
    predict.add_argument("--focal-px", type=float, help="focal length of the photos in pixels, where known")
    predict.add_argument("--only-npz", action="store_true", help="no pictures, no mesh")
    predict.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)")
    predict.set_defaults(command=_predict)
    return parser


def _fit(options: argparse.Namespace) -> int:
    from schemas.settings import with_overrides
    from trainer.config import preset

    settings = with_overrides(preset(options.preset), options.overrides)
    from trainer.train import fit

    fit(options.dataset, options.out, settings, resume=options.resume, device=options.device)
    print(f"wrote {options.out}")
    return 0


def _predict(options: argparse.Namespace) -> int:
    from schemas.errors import SettingsError

    if bool(options.photos) == bool(options.dataset):
        raise SettingsError("nothing to predict, or two things.", remedy="Give photos, or --dataset.")
    if options.per_track is not None and options.per_track < 1:
        raise SettingsError(f"--per-track cannot be {options.per_track}.", remedy="Give 1 or more.")
    from trainer.checkpoint import load_checkpoint
    from trainer.predict import Predictor, predict_into, subjects_of_dataset, subjects_of_photos

    predictor = Predictor(load_checkpoint(options.checkpoint), options.device)
    if options.dataset:
        subjects = subjects_of_dataset(options.dataset, options.sample_ids, options.per_track)
    else:
        subjects = subjects_of_photos(options.photos, options.focal_px)
    written = predict_into(Path(options.out), subjects, predictor, only_npz=options.only_npz)
    print(f"wrote {len(written)} prediction(s) into {options.out}")
    return 0
