"""`python -m pipeline body import | export`: arguments to calls, nothing else."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Adds `body` with its own commands to argparse's subparsers."""
    body = commands.add_parser("body", help="body models: a licensed SMPL file of your own, or the open body")
    actions = body.add_subparsers(title="actions", required=True, metavar="ACTION")

    bring = actions.add_parser("import", help="SMPL's .pkl to an .npz for body.file; nothing in it is run")
    bring.add_argument("file", help="SMPL_NEUTRAL.pkl, basicModel_f_lbs_10_207_0_v1.0.0.pkl, ...")
    bring.add_argument("--out", help="the .npz to write (default: beside the file)")
    bring.add_argument(
        "--gender", choices=("male", "female", "neutral"), help="where the name does not say it"
    )
    bring.set_defaults(command=_import)

    convert = actions.add_parser(
        "convert",
        help="another program's bodies of a film, for tracking.tracker=imported; nothing in them is run",
    )
    convert.add_argument("result", help=".npz, .npy, .pkl, .pt, or the folder the program wrote")
    convert.add_argument(
        "--format",
        required=True,
        help="whose: 4d-humans, cliff, gvhmr, prompthmr, romp, tram, wham, mapping, ...",
    )
    convert.add_argument(
        "--out", required=True, help="CLIP_ID.npz or CLIP_ID.parquet in the folder tracking.bodies"
    )
    convert.add_argument("--film", help="the film: its size is taken, and its number of frames compared")
    convert.add_argument(
        "--image", metavar="WIDTHxHEIGHT", help="size of the film, where the results do not say it"
    )
    convert.add_argument(
        "--focal-px",
        type=float,
        help="focal length the program ran with; for one with a lens of its own (4d-humans, romp, smpler-x) the film's",
    )
    convert.add_argument(
        "--fps",
        type=float,
        help="frames a second of the results, where they are not the film's: bodies get times",
    )
    convert.add_argument("--mapping", help="for --format mapping: JSON of {our name: path in the file}")
    convert.add_argument(
        "--drop-betas", action="store_true", help="mean shape: for a body of another shape space"
    )
    convert.set_defaults(command=_convert)

    portraits = actions.add_parser(
        "portraits",
        help="your own capture, a film or folder of pictures and its bodies, to train TrackNet on",
    )
    portraits.add_argument("capture", help="a film, or a folder of pictures in the order of their names")
    portraits.add_argument("--bodies", required=True, help="its bodies, as `convert` writes them")
    portraits.add_argument("--out", required=True, help="Parquet file (table `portraits`)")
    portraits.add_argument("--body", help="the body of those betas: an .npz (default: the open body)")
    portraits.add_argument("--focal-px", type=float, help="the film's, for bodies in weak perspective")
    portraits.add_argument("--every", type=int, default=1, help="every so many frames (default 1)")
    portraits.set_defaults(command=_portraits)

    export = actions.add_parser("export", help="the open body as an .npz, for the trainer and other programs")
    export.add_argument("--out", required=True, help="the .npz to write")
    export.set_defaults(command=_export)


def _import(options: argparse.Namespace) -> int:
    from pipeline.body.smpl_import import import_smpl

    source = Path(options.file)
    out = Path(options.out) if options.out else source.with_suffix(".npz")
    facts = import_smpl(source, out, options.gender)
    print(f"SMPL {facts.version}, {facts.gender}, sha256 {facts.sha256}")
    print(f"wrote {out}; use it with --set body.file={out}")
    return 0


def _convert(options: argparse.Namespace) -> int:
    from pipeline.conversion import Conversion, converted
    from pipeline.tracking.imported_bodies import write_bodies

    results = converted(
        Conversion(
            result=Path(options.result),
            format=options.format,
            film=Path(options.film) if options.film else None,
            image=options.image,
            focal_px=options.focal_px,
            fps=options.fps,
            mapping=Path(options.mapping) if options.mapping else None,
            drop_betas=options.drop_betas,
        )
    )
    bodies = results.bodies
    write_bodies(Path(options.out), bodies)
    people = len(set(bodies.person.tolist()))
    print(f"wrote {options.out}: {len(bodies)} bodies of {people} person(s), betas of {bodies.shape_space}")
    for note in results.notes:
        print(f"note: {note}")
    return 0


def _portraits(options: argparse.Namespace) -> int:
    from pipeline.body.model import BodyModel
    from pipeline.portraits import capture_frames, captured_portraits
    from pipeline.tracking.imported_bodies import read_bodies
    from schemas.errors import NobodyFoundError, SettingsError
    from schemas.portraits import PORTRAITS

    if options.every < 1:
        raise SettingsError(f"--every cannot be {options.every}.", remedy="Give 1 or more.")
    capture, out = Path(options.capture), Path(options.out)
    rows = captured_portraits(
        capture_frames(capture),
        read_bodies(Path(options.bodies)),
        BodyModel.load(options.body) if options.body else BodyModel.open_body(),
        name=capture.stem,
        focal_px=options.focal_px,
        every=options.every,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    count = PORTRAITS.write(rows, out)
    if not count:
        out.unlink(missing_ok=True)
        raise NobodyFoundError(
            f"{options.bodies} has nobody in the frames of {capture}.", remedy="Check frame_index or pts_s."
        )
    print(f"wrote {count} portrait(s) into {out}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from pipeline.body.model import open_body_path

    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(open_body_path().read_bytes())
    print(f"wrote {out}")
    return 0
