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


def _export(options: argparse.Namespace) -> int:
    from pipeline.body.model import open_body_path

    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(open_body_path().read_bytes())
    print(f"wrote {out}")
    return 0
