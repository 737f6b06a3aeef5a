"""`python -m trainer fit | predict | evaluate | probe | export`: arguments to settings, nothing else."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from schemas.errors import HumandepthError
from schemas.escaping import escape_on_terminal, shown
from schemas.places import (
    about_argument,
    made_parent,
    plain_file_to_write,
    plain_folder_to_write,
    plain_path,
)
from trainer.evaluate_command import add_command as add_evaluate_command
from trainer.predict_command import add_command as add_predict_command
from trainer.probe_command import add_command as add_probe_command
from trainer.tracknet.commands import add_commands as add_tracknet_commands

_DESCRIPTION = "Learn the depth of people from a dataset that the pipeline made, and predict it for photos."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 2 wrong usage, 1 any other error."""
    escape_on_terminal()
    # Read when torch loads its threads. Threads that spin while they wait make a step ten times slower on a machine
    # that has anything else to do (measured: 16 s against 1.5 s with three other processes on two cores).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    options = argparse.Namespace()
    try:
        with sigterm_exits():
            options = _parser().parse_args(argv)
            return int(options.command(options))
    except HumandepthError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        known = about_argument(error, vars(options).values())
        if known is None:
            raise
        print(f"error: {known}", file=sys.stderr)
        return known.exit_code
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in ("schemas", "trainer"):
            raise
        extra = getattr(options, "extra", "trainer")
        print(
            f"error: {error.name} is not installed. Run: pip install 'humandepth[{extra}]'", file=sys.stderr
        )
        return 1


@contextmanager
def sigterm_exits() -> Iterator[None]:
    """SIGTERM ends the command with 143 from its first moment, while it still imports; a run then does more of it.

    In a container the command is process 1, for which the signal means nothing unless there is a handler. An exception
    would not do: libraries catch it in the middle of their imports, and what is half imported cannot be imported again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        os.write(2, b"error: stopped by SIGTERM.\n")  # print may be what was interrupted
        os._exit(143)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer", description=_DESCRIPTION)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    fit = commands.add_parser("fit", help="train ReconNet on a dataset")
    fit.add_argument(
        "datasets",
        type=plain_path,
        nargs="+",
        help="folders that `python -m pipeline run --out` made, or gs://, s3://, ... of them",
    )
    fit.add_argument(
        "--weights",
        metavar="SHARE",
        type=float,
        nargs="+",
        help="share of each dataset in the samples seen, in their order (data.weights)",
    )
    fit.add_argument(
        "--selection",
        metavar="NAME",
        help="only what a saved selection keeps; every dataset needs one of that name (data.selection)",
    )
    fit.add_argument("--where", metavar="EXPR", help="only samples that pass this filter (data.where)")
    fit.add_argument(
        "--truth",
        metavar="FOLDER",
        help="folder with the true depth of held-out samples, to report depth errors (data.truth)",
    )
    fit.add_argument(
        "--out", metavar="PATH", type=plain_folder_to_write, required=True, help="checkpoint folder"
    )
    fit.add_argument("--resume", action="store_true", help="continue from the checkpoint in --out")
    fit.add_argument(
        "--from",
        dest="start_from",
        metavar="CHECKPOINT",
        help="start a new run from the weights of this checkpoint",
    )
    fit.add_argument(
        "--preset", metavar="NAME", default="paper", help="`paper` (default), `released`, `small` or `fine`"
    )
    fit.add_argument(
        "--set",
        dest="overrides",
        metavar="SECTION.FIELD=VALUE",
        action="append",
        default=[],
        help="change a setting; repeatable",
    )
    fit.add_argument(
        "--device", metavar="DEVICE", help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)"
    )
    fit.set_defaults(command=_fit)

    add_predict_command(commands)

    add_evaluate_command(commands)
    add_probe_command(commands)

    export = commands.add_parser(
        "export", help="write the network as ONNX or torch.export, and compare its output with the original"
    )
    export.add_argument("--checkpoint", metavar="FOLDER", required=True)
    export.add_argument(
        "--out", metavar="PATH", type=plain_file_to_write, required=True, help="NAME.onnx or NAME.pt2"
    )
    export.set_defaults(command=_export, extra="trainer,export")

    add_tracknet_commands(commands)
    return parser


def _fit(options: argparse.Namespace) -> int:
    from schemas.errors import SettingsError
    from schemas.settings import with_overrides
    from trainer.config import preset

    settings = with_overrides(preset(options.preset), options.overrides)
    given = {name: getattr(options, name) for name in ("weights", "where", "truth", "selection")}
    settings = with_overrides(
        settings, [f"data.{name}={json.dumps(value)}" for name, value in given.items() if value]
    )
    if options.resume and options.start_from:
        raise SettingsError("--resume and --from cannot be combined.", remedy="Give one of them.")
    from trainer.train import fit

    fit(
        options.datasets,
        options.out,
        settings,
        resume=options.resume,
        start_from=options.start_from,
        device=options.device,
    )
    print(f"wrote {shown(options.out)}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from schemas.errors import SettingsError
    from trainer.checkpoint import load_checkpoint
    from trainer.export import export_onnx, export_torch

    path = Path(options.out)
    makers = {".onnx": export_onnx, ".pt2": export_torch}
    if path.suffix not in makers:
        raise SettingsError(f"--out {path} ends in neither .onnx nor .pt2.", remedy="Give one of the two.")
    difference_m = makers[path.suffix](load_checkpoint(options.checkpoint), made_parent(path))
    print(f"wrote {shown(path)}; it differs from the network by at most {1000 * difference_m:.2g} mm")
    return 0
