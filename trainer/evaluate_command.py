"""`python -m trainer evaluate`: its arguments, and what is done with them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from schemas.command_line import Commands
from schemas.escaping import shown
from schemas.places import file_to_write, made_parent


def add_to(commands: Commands) -> None:
    """Adds the command."""
    evaluate = commands.add(
        "evaluate",
        "compare predictions with ground truth, with their dataset's pictures, or with a second camera",
        examples=[
            "predicted --truth truth --out evaluation.json",
            "predicted --dataset dataset",
            "predicted --views views.json --out evaluation.json",
        ],
    )
    evaluate.add_argument("predictions", metavar="FOLDER", help="what `predict` wrote")
    evaluate.add_argument(
        "--truth", metavar="FOLDER", help="NAME.npz (depth_m, K) for predictions of the same name"
    )
    evaluate.add_argument(
        "--dataset",
        metavar="DATASET",
        help="what was predicted: photometric errors over its references, and whether they gain beyond a constant",
    )
    evaluate.add_argument(
        "--views",
        type=Path,
        metavar="FILE",
        help="JSON naming a second calibrated camera and its pictures: how well depth explains what it saw",
    )
    evaluate.add_argument(
        "--out", type=file_to_write, metavar="FILE", help="JSON with the means and every image"
    )
    evaluate.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="another depth of the same images, for example what `probe` wrote; repeatable",
    )
    evaluate.add_argument(
        "--also-base",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="another base depth: that of predictions made from other bodies; repeatable",
    )
    evaluate.set_defaults(command=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    from schemas.errors import SettingsError

    if not (options.truth or options.dataset or options.views):
        raise SettingsError(
            "nothing to compare with.", remedy="Give --truth FOLDER, --dataset DATASET or --views FILE."
        )
    predictions = Path(options.predictions)
    content: dict[str, Any] = {}
    if options.truth:
        content |= _by_truth(options, predictions)
    if options.dataset:
        content |= _by_dataset(options.dataset, predictions)
    if options.views:
        content |= _by_views(options.views, predictions)
    if options.out:
        write_json(made_parent(options.out), content)
        print(f"wrote {shown(options.out)}")
    return 0


def _by_truth(options: argparse.Namespace, predictions: Path) -> dict[str, Any]:
    from trainer.evaluate import evaluate, evaluation_content, evaluation_text, gains, without_partner
    from trainer.progress import warn

    others = _others(options)
    alone = without_partner(predictions, Path(options.truth))
    if any(alone):
        warn(f"not compared: {alone[0]} prediction(s) without truth, {alone[1]} truth(s) without prediction")
    results = evaluate(predictions, Path(options.truth), others)
    found = gains(results, {name: is_base for name, (_, is_base) in others.items()})
    print(evaluation_text(results, found))
    return evaluation_content(results, found)


def _by_dataset(root: str, predictions: Path) -> dict[str, Any]:
    from trainer.evaluate_photo import evaluate_photo

    learned = evaluate_photo(predictions, root)
    print(
        f"photometric error {learned.base_photo_error:.5f} with the base depth, "
        f"{learned.constant_photo_error:.5f} with each sample's mean offset, {learned.photo_error:.5f} refined"
    )
    print(learned.sentence())
    return {"photo": learned.as_dict()}


def _by_views(path: Path, predictions: Path) -> dict[str, Any]:
    from trainer.evaluate_views import evaluate_views, views_content, views_text

    results = evaluate_views(predictions, path)
    print(views_text(results))
    return {"views": views_content(results)}


def _others(options: argparse.Namespace) -> dict[str, tuple[Path, bool]]:
    """The folders of --also and --also-base, by name, and whether their base depth is meant."""
    from schemas.errors import SettingsError

    others = {}
    for texts, is_base in ((options.also, False), (options.also_base, True)):
        for text in texts:
            name, equals, folder = text.partition("=")
            if not (name and equals and folder) or name in others:
                raise SettingsError(
                    f"{text!r} is not of the form NAME=FOLDER, or its name was given before.",
                    remedy="Give NAME=FOLDER, each name once.",
                )
            others[name] = (Path(folder), is_base)
    return others


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
