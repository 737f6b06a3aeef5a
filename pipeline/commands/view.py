"""The command `view`: one frame or pair of a dataset as pictures or for the rerun viewer."""

from __future__ import annotations

import argparse
from pathlib import Path

from schemas.errors import SettingsError
from schemas.escaping import shown
from schemas.places import file_to_write, plain_path

SUFFIXES = (".rrd", ".png", ".gif")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `python -m pipeline view` takes."""
    parser.add_argument("dataset", type=plain_path)
    parser.add_argument(
        "frame",
        nargs="?",
        metavar="TRACK/FRAME",
        help="the target, or a sample_id (default: the sample in the middle)",
    )
    parser.add_argument(
        "--reference",
        type=int,
        metavar="FRAME",
        help="another frame of the track, kept as a reference or not (default: the kept one that shares most surface)",
    )
    parser.add_argument("--alone", action="store_true", help="the frame without any reference")
    parser.add_argument(
        "--out",
        type=file_to_write,
        required=True,
        help="NAME.png, NAME.gif, or NAME.rrd for the rerun viewer (pip install 'humandepth[rerun]')",
    )


def view(options: argparse.Namespace) -> int:
    """Reads, draws, writes, says what it shows."""
    out = Path(options.out)
    if out.suffix.lower() not in SUFFIXES:
        raise SettingsError(
            f"--out {options.out} ends in none of {', '.join(SUFFIXES)}.", remedy="Name one of these files."
        )
    if options.alone and options.reference is not None:
        raise SettingsError("--alone and --reference are two things.", remedy="Give one of them.")
    from pipeline.inspection.pair_pictures import blink_frames, panels_of, write_gif, write_png
    from pipeline.inspection.pair_recording import facts_text, write_recording
    from pipeline.inspection.scene import SceneReader
    from pipeline.method.resources import Toolbox, settings_of
    from schemas.dataset import Dataset

    dataset = Dataset.open(options.dataset)
    toolbox = Toolbox(settings_of(dataset))
    reader = SceneReader(dataset, toolbox)
    target = options.frame or reader.usual_target()
    reference = options.reference
    if reference is None and not options.alone:
        reference = reader.usual_reference(target)
    scene = reader.read(target, reference)
    panels = panels_of(scene, toolbox.rasterizer)
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
