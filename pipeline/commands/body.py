"""`python -m pipeline body import | export`: arguments to calls, nothing else."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from schemas.errors import SourceError
from schemas.escaping import shown
from schemas.places import existing_file, existing_path, file_to_write, plain_file_to_write


def add_commands(commands: Any) -> None:
    """Adds `body` with its own commands to argparse's subparsers."""
    body = commands.add_parser("body", help="body models: a licensed SMPL file of your own, or the open body")
    actions = body.add_subparsers(title="actions", required=True, metavar="ACTION")

    bring = actions.add_parser(
        "import", help="a file of SMPL, SMPL-H or SMPL-X to an .npz for body.file; nothing in it is run"
    )
    bring.add_argument(
        "file", type=existing_file, help="SMPL_NEUTRAL.pkl, SMPLH_MALE.pkl, SMPLX_NEUTRAL.npz, ..."
    )
    bring.add_argument("--out", type=file_to_write, help="the .npz to write (default: beside the file)")
    bring.add_argument(
        "--gender", choices=("male", "female", "neutral"), help="where the name does not say it"
    )
    bring.set_defaults(command=_import)

    convert = actions.add_parser(
        "convert",
        help="another program's bodies of a film, for tracking.tracker=imported; nothing in them is run",
    )
    convert.add_argument(
        "result", type=existing_path, help=".npz, .npy, .pkl, .pt, or the folder the program wrote"
    )
    convert.add_argument(
        "--format",
        required=True,
        help="whose: 4d-humans, cliff, gvhmr, prompthmr, romp, tram, wham, mapping, ...",
    )
    convert.add_argument(
        "--out",
        type=plain_file_to_write,
        required=True,
        help="CLIP_ID.npz or CLIP_ID.parquet in the folder tracking.bodies",
    )
    convert.add_argument(
        "--film", type=existing_file, help="the film: its size is taken, and its number of frames compared"
    )
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
    convert.add_argument(
        "--mapping", type=existing_file, help="for --format mapping: JSON of {our name: path in the file}"
    )
    convert.add_argument(
        "--drop-betas", action="store_true", help="mean shape: for a body of another shape space"
    )
    convert.set_defaults(command=_convert)

    portraits = actions.add_parser(
        "portraits",
        help="your own capture, a film or folder of pictures and its bodies, to train TrackNet on",
    )
    portraits.add_argument(
        "capture", type=existing_path, help="a film, or a folder of pictures in the order of their names"
    )
    portraits.add_argument(
        "--bodies", type=existing_file, required=True, help="its bodies, as `convert` writes them"
    )
    portraits.add_argument(
        "--out", type=plain_file_to_write, required=True, help="Parquet file (table `portraits`)"
    )
    portraits.add_argument(
        "--body", type=existing_file, help="the body of those betas: an .npz (default: the open body)"
    )
    portraits.add_argument("--focal-px", type=float, help="the film's, for bodies in weak perspective")
    portraits.add_argument("--every", type=int, default=1, help="every so many frames (default 1)")
    portraits.set_defaults(command=_portraits)

    export = actions.add_parser("export", help="the open body as an .npz, for the trainer and other programs")
    export.add_argument("--out", type=file_to_write, required=True, help="the .npz to write")
    export.set_defaults(command=_export)


def _import(options: argparse.Namespace) -> int:
    from pipeline.body.smpl_import import import_smpl

    source = Path(options.file)
    beside = (
        source.with_name(f"{source.stem}_body.npz")
        if source.suffix.lower() == ".npz"
        else source.with_suffix(".npz")
    )
    out = Path(options.out) if options.out else beside
    facts = import_smpl(source, out, options.gender)
    print(f"{facts.name}, {facts.gender}, {facts.betas} shape coefficients (10 kept), sha256 {facts.sha256}")
    print(
        "not compared with the smplx package: pip install 'humandepth[smplx]' (licence: non-commercial research)"
        if facts.difference_m is None
        else f"posed vertices differ from those of the smplx package by at most {facts.difference_m:.1g} m"
    )
    print(f"wrote {shown(out)}; use it with --set body.file={shown(out)}")
    return 0


def _convert(options: argparse.Namespace) -> int:
    from pipeline.foreign.conversion import Conversion, converted
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
    print(
        f"wrote {shown(options.out)}: {len(bodies)} bodies of {people} person(s), betas of {bodies.shape_space}"
    )
    for note in results.notes:
        print(f"note: {shown(note)}")
    return 0


def _mapping(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(
            f"--mapping {path} cannot be read as JSON: {error}.",
            remedy='Write {"pose": "path/in/the/file", ...}.',
        ) from None


def _portraits(options: argparse.Namespace) -> int:
    from pipeline.body.model import BodyModel
    from pipeline.dataset.storage import write_table
    from pipeline.method.portraits import capture_frames, captured_portraits
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
    count = write_table(PORTRAITS, rows, out)
    if not count:
        out.unlink(missing_ok=True)
        raise NobodyFoundError(
            f"{options.bodies} has nobody in the frames of {capture}.", remedy="Check frame_index or pts_s."
        )
    print(f"wrote {count} portrait(s) into {shown(out)}")
    return 0


def _export(options: argparse.Namespace) -> int:
    import numpy as np

    from pipeline.body.model import open_body_path
    from pipeline.body.npz_archive import write_npz

    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with np.load(open_body_path(), allow_pickle=False) as archive:
        write_npz(out, {name: archive[name] for name in archive.files} | {"kind": np.array("open")})
    print(f"wrote {shown(out)}")
    return 0
