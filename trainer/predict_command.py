"""`python -m trainer predict`: its arguments, and what is done with them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from schemas.escaping import shown
from schemas.places import plain_folder_to_write, plain_path


def add_command(commands: Any) -> None:
    """Adds `predict` to the commands of a parser."""
    predict = commands.add_parser("predict", help="depth of photos and videos, or of rows of a dataset")
    predict.add_argument("files", nargs="*", metavar="FILE", help="photos, videos, or folders of them")
    predict.add_argument(
        "--checkpoint",
        metavar="FOLDER",
        help="folder that `fit --out` made; without it, the base depth alone",
    )
    predict.add_argument(
        "--out", metavar="FOLDER", type=plain_folder_to_write, required=True, help="folder for the results"
    )
    predict.add_argument(
        "--dataset", metavar="FOLDER", type=plain_path, help="predict rows of this dataset instead of photos"
    )
    predict.add_argument(
        "--sample", metavar="ID", dest="sample_ids", action="append", default=[], help="sample id; repeatable"
    )
    predict.add_argument(
        "--per-track", metavar="N", type=int, help="this many samples of every track, evenly spread"
    )
    predict.add_argument(
        "--preset",
        metavar="NAME",
        help="the pipeline's settings: `paper` or `released` (default: those of the checkpoint's dataset)",
    )
    predict.add_argument(
        "--set",
        dest="overrides",
        metavar="SECTION.FIELD=VALUE",
        action="append",
        default=[],
        help="change a setting of the pipeline, for example body.file=smpl.npz or tracking.bodies=FOLDER",
    )
    predict.add_argument(
        "--allow-mismatch",
        action="store_true",
        help="accept another body or network file than the one used in training",
    )
    predict.add_argument(
        "--focal-px", metavar="PX", type=float, help="focal length of the pictures in pixels, where known"
    )
    predict.add_argument(
        "--every",
        metavar="N",
        type=int,
        default=1,
        help="predict every N-th usable frame of a video (default 1)",
    )
    predict.add_argument(
        "--batch-size", metavar="N", type=int, default=1, help="people per pass of the network (default 1)"
    )
    predict.add_argument(
        "--turntable", action="store_true", help="also write an animated GIF of every surface"
    )
    predict.add_argument("--only-npz", action="store_true", help="write no pictures and no meshes")
    predict.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)")
    predict.set_defaults(command=_predict, extra="pipeline,trainer")


def _predict(options: argparse.Namespace) -> int:
    from schemas.errors import SettingsError

    if bool(options.files) == bool(options.dataset):
        fault = "files and --dataset cannot be combined" if options.files else "there is nothing to predict"
        raise SettingsError(f"{fault}.", remedy="Give either files or --dataset.")
    for name in ("per_track", "every", "batch_size"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise SettingsError(f"--{name.replace('_', '-')} cannot be {value}.", remedy="Give 1 or more.")
    if options.dataset and (options.preset or options.overrides):
        raise SettingsError(
            "--preset and --set do not change the base depth that a dataset holds.",
            remedy="Leave them out, or give files.",
        )
    from trainer.checkpoint import load_checkpoint
    from trainer.predict import picture_bodies, subjects_of_files
    from trainer.prediction_files import predict_into
    from trainer.predictor import BaseDepth, DepthPredictor, Predictor
    from trainer.progress import PredictLines, warn
    from trainer.subject import subjects_of_dataset

    checkpoint = load_checkpoint(options.checkpoint) if options.checkpoint else None
    predictor: DepthPredictor = BaseDepth()
    if checkpoint is None:
        warn("no --checkpoint: predictions hold the base depth alone, which is the depth of the bodies")
    else:
        predictor = Predictor(checkpoint, options.device)
    if options.dataset:
        subjects = subjects_of_dataset(options.dataset, options.sample_ids, options.per_track)
    else:
        bodies = picture_bodies(
            checkpoint.recipe if checkpoint else None,
            preset=options.preset,
            overrides=options.overrides,
            allow_mismatch=options.allow_mismatch,
            warn=warn,
        )
        if checkpoint is not None and checkpoint.recipe is None:
            warn("the checkpoint does not say how its base depth was made: the pipeline's defaults are used")
        subjects = subjects_of_files(options.files, bodies, options.focal_px, every=options.every, warn=warn)
    written = predict_into(
        Path(options.out),
        subjects,
        predictor,
        only_npz=options.only_npz,
        with_turntable=options.turntable,
        batch_size=options.batch_size,
        on_written=PredictLines(),
    )
    print(f"wrote {len(written)} prediction(s) into {shown(options.out)}")
    return 0
