"""`python -m trainer evaluate`: its arguments, and what is done with them."""

from __future__ import annotations

import argparse
from pathlib import Path

from schemas.command_line import Commands
from schemas.escaping import shown
from schemas.places import file_to_write, made_parent


def add_to(commands: Commands) -> None:
    """Adds the command."""
    evaluate = commands.add(
        "evaluate",
        "compare predictions with ground truth",
        examples=["predicted --truth truth --out evaluation.json"],
    )
    evaluate.add_argument("predictions", metavar="FOLDER", help="what `predict` wrote")
    evaluate.add_argument(
        "--truth",
        required=True,
        metavar="FOLDER",
        help="NAME.npz (depth_m, K) for predictions of the same name",
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
    from trainer.evaluate import evaluate, evaluation_text, write_evaluation

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
    results = evaluate(Path(options.predictions), Path(options.truth), others)
    print(evaluation_text(results))
    if options.out:
        write_evaluation(made_parent(options.out), results)
        print(f"wrote {shown(options.out)}")
    return 0
