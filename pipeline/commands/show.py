"""The command `show frame | pair`: one frame or pair of a dataset as pictures or for the rerun viewer."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.commands.arguments import add_dataset
from schemas.command_line import CommandParser, Commands
from schemas.errors import DatasetError, SettingsError
from schemas.escaping import shown
from schemas.places import file_to_write

SUFFIXES = (".rrd", ".png", ".gif")


def add_to(commands: Commands) -> None:
    """Adds the command and its actions."""
    actions = commands.add_family("show", "draw one frame or pair of a dataset as .png, .gif or .rrd")
    pair = actions.add(
        "pair",
        "a target frame beside a reference: photos, depth, motion, validity, warped reference",
        examples=["DATASET --out pair.png", "DATASET clip-s000-w000/p00/12 --reference 18 --out pair.gif"],
    )
    _add_target(pair)
    pair.add_argument(
        "--reference",
        type=int,
        metavar="FRAME",
        help="another frame of the track, whether the pair was kept or not (default: the kept reference that shares "
        "most surface)",
    )
    pair.set_defaults(command=_show, is_pair=True)
    frame = actions.add(
        "frame",
        "one frame alone: photo, body, depth, mask",
        examples=["DATASET --out frame.png", "DATASET clip-s000-w000/p00/12 --out frame.rrd"],
    )
    _add_target(frame)
    frame.set_defaults(command=_show, is_pair=False, reference=None)


def _add_target(parser: CommandParser) -> None:
    add_dataset(parser)
    parser.add_argument(
        "frame",
        nargs="?",
        metavar="TRACK/FRAME",
        help="the target frame, or a sample_id (default: the sample in the middle of the dataset)",
    )
    parser.add_argument(
        "--out",
        type=file_to_write,
        required=True,
        metavar="FILE",
        help="NAME.png, NAME.gif, or NAME.rrd for the rerun viewer (pip install 'humandepth[rerun]')",
    )


def _show(options: argparse.Namespace) -> int:
    """Reads, draws, writes, says what it shows."""
    out = Path(options.out)
    if out.suffix.lower() not in SUFFIXES:
        raise SettingsError(
            f"--out {options.out} does not end in .png, .gif or .rrd.", remedy="Give a name that does."
        )
    from pipeline.dataset.stored_settings import settings_of
    from pipeline.inspection.pair_pictures import blink_frames, panels_of, write_gif, write_png
    from pipeline.inspection.pair_recording import facts_text, write_recording
    from pipeline.inspection.scene import SceneReader
    from pipeline.method.resources import Resources
    from schemas.dataset import Dataset

    dataset = Dataset.open(options.dataset)
    resources = Resources(settings_of(dataset))
    reader = SceneReader(dataset, resources)
    target = options.frame or reader.usual_target()
    reference = options.reference
    if reference is None and options.is_pair:
        reference = reader.usual_reference(target)
        if reference is None:
            raise DatasetError(
                f"{target} of {options.dataset} has no kept reference.",
                remedy="Give --reference FRAME, or draw it alone with `show frame`.",
            )
    scene = reader.read(target, reference)
    panels = panels_of(scene, resources.rasterizer)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix.lower() == ".rrd":
        write_recording(scene, panels, out)
    elif out.suffix.lower() == ".gif":
        write_gif(blink_frames(scene, panels), out)
    else:
        write_png(panels, out)
    print(facts_text(scene))
    print(f"wrote {shown(out)}")
    return 0
