"""`python -m trainer predict`: its arguments, and what is done with them."""

from __future__ import annotations

import argparse
from pathlib import Path

from schemas.command_line import Commands, add_settings, at_least_one
from schemas.escaping import shown
from schemas.places import plain_folder_to_write, plain_path
from trainer.arguments import add_device, add_samples


def add_to(commands: Commands) -> None:
    """Adds the command."""
    predict = commands.add(
        "predict",
        "predict the depth of photos and videos, or of samples of a dataset",
        examples=[
            "photo.jpg --checkpoint checkpoint --out predicted",
            "--dataset dataset --per-track 3 --checkpoint checkpoint --out predicted",
        ],
    )
    predict.add_argument("files", nargs="*", metavar="FILE", help="photos, videos, or folders of them")
    predict.add_argument(
        "--checkpoint",
        metavar="FOLDER",
        help="checkpoint folder of `fit`; without it only the base depth is written",
    )
    predict.add_argument(
        "--out", type=plain_folder_to_write, required=True, metavar="FOLDER", help="where the results go"
    )
    predict.add_argument(
        "--dataset", type=plain_path, metavar="DATASET", help="predict samples of this dataset, not files"
    )
    add_samples(predict)
    add_settings(
        predict,
        ("paper", "paper-exact", "released"),
        default=None,
        what="the pipeline",
        see="for example body.file=smpl.npz; all of them: python -m pipeline settings",
    )
    predict.add_argument(
        "--allow-mismatch",
        action="store_true",
        help="accept another body or network file than the one used in training",
    )
    predict.add_argument(
        "--focal-px",
        type=float,
        metavar="PX",
        help="focal length in pixels of the full images, where it is known",
    )
    predict.add_argument(
        "--every", type=int, default=1, metavar="N", help="of a video, every N-th usable frame (default: 1)"
    )
    predict.add_argument(
        "--batch-size",
        type=int,
        default=1,
        metavar="N",
        help="people that go through the network together (default: 1)",
    )
    predict.add_argument(
        "--mirrored-look",
        action="store_true",
        help="let the network look at the mirror image too, and take the mean: for one trained with data.flip",
    )
    predict.add_argument(
        "--turntable", action="store_true", help="also write an animated GIF of every surface"
    )
    predict.add_argument("--only-npz", action="store_true", help="write no pictures and no meshes")
    add_device(predict)
    predict.set_defaults(command=_predict, extra="pipeline,trainer")


def _predict(options: argparse.Namespace) -> int:
    from schemas.errors import SettingsError

    if options.files and options.dataset:
        raise SettingsError(
            f"files ({options.files[0]}) and --dataset cannot be combined.", remedy="Give one of them."
        )
    if not options.files and not options.dataset:
        raise SettingsError("there is nothing to predict.", remedy="Give files, or --dataset.")
    at_least_one(options, "per_track", "every", "batch_size")
    if options.dataset and (options.preset or options.overrides):
        raise SettingsError(
            "--preset and --set cannot be combined with --dataset, which holds its base depth already.",
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
        warn("no checkpoint: the base depth alone is written, that of the bodies")
    else:
        predictor = Predictor(checkpoint, options.device, mirrored_look=options.mirrored_look)
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
