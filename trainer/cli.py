"""`python -m trainer COMMAND`: arguments to settings, nothing else."""

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

from schemas.command_line import (
    CommandParser,
    Commands,
    add_settings,
    program,
    run_command,
)
from schemas.escaping import escape_on_terminal, shown
from schemas.places import (
    made_parent,
    plain_file_to_write,
    plain_folder_to_write,
    plain_path,
)
from trainer.arguments import add_device
from trainer.evaluate_command import add_to as add_evaluate_command
from trainer.predict_command import add_to as add_predict_command
from trainer.probe_command import add_to as add_probe_command
from trainer.tracknet.commands import add_to as add_tracknet_commands

PRESETS = ("paper", "released", "small", "fine", "supervised")
_DESCRIPTION = "Learn the depth of people from a dataset that the pipeline made, and predict it for photos."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code (see `python -m trainer --help`)."""
    escape_on_terminal()
    # Read when torch loads its threads. Threads that spin while they wait make a step ten times slower on a machine
    # that has anything else to do (measured: 16 s against 1.5 s with three other processes on two cores).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with sigterm_exits():
        return run_command(make_parser(), sys.argv[1:] if argv is None else argv, package="trainer")


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


def make_parser() -> CommandParser:
    """The parser of all commands."""
    parser = program("trainer", _DESCRIPTION, {})
    commands = Commands(parser, "COMMAND")
    commands.heading("train and predict")
    _add_fit(commands)
    add_predict_command(commands)
    commands.heading("measure")
    add_evaluate_command(commands)
    add_probe_command(commands)
    commands.heading("for other programs")
    _add_export(commands)
    commands.heading("a tracker of your own")
    add_tracknet_commands(commands)
    commands.heading("what can be set")
    _add_settings(commands)
    return parser


def _add_fit(commands: Commands) -> None:
    fit = commands.add(
        "fit",
        "train ReconNet on a dataset",
        examples=[
            "dataset --out checkpoint",
            "dataset --out checkpoint --resume",
            "own youtube --weights 0.8 0.2 --out mixed --preset small",
        ],
    )
    fit.add_argument(
        "datasets",
        type=plain_path,
        nargs="+",
        metavar="DATASET",
        help="folders that `python -m pipeline run` made, or their addresses (gs://, s3://, ...)",
    )
    fit.add_argument(
        "--weights",
        type=float,
        nargs="+",
        metavar="SHARE",
        help="share of each dataset in the samples seen, in their order (data.weights)",
    )
    fit.add_argument(
        "--selection",
        metavar="NAME",
        help="only what a saved selection keeps; every dataset needs one of that name (data.selection)",
    )
    fit.add_argument("--where", metavar="EXPR", help="only samples for which this holds (data.where)")
    fit.add_argument(
        "--truth",
        metavar="FOLDER",
        help="true depth of held-out samples, to report depth errors (data.truth)",
    )
    fit.add_argument(
        "--dressed",
        metavar="FOLDER",
        help="depth of the tracks' dressed shapes, to learn from with losses.gamma_dressed (data.dressed)",
    )
    fit.add_argument(
        "--out", type=plain_folder_to_write, required=True, metavar="CHECKPOINT", help="checkpoint folder"
    )
    fit.add_argument("--resume", action="store_true", help="continue from the checkpoint in --out")
    fit.add_argument(
        "--from",
        dest="start_from",
        metavar="CHECKPOINT",
        help="start a new run from the weights of this checkpoint",
    )
    add_settings(fit, PRESETS, default="paper", see="all of them: python -m trainer settings")
    add_device(fit)
    fit.set_defaults(command=_fit)


def _add_export(commands: Commands) -> None:
    export = commands.add(
        "export",
        "write the network as ONNX or torch.export, and compare it with the original",
        examples=["--checkpoint checkpoint --out reconnet.onnx"],
    )
    export.add_argument("--checkpoint", required=True, metavar="FOLDER", help="checkpoint folder")
    export.add_argument(
        "--out", type=plain_file_to_write, required=True, metavar="FILE", help="NAME.onnx or NAME.pt2"
    )
    export.set_defaults(command=_export, extra="trainer,export")


def _add_settings(commands: Commands) -> None:
    settings = commands.add(
        "settings",
        "list all settings with type, unit, default and reason",
        about="With --preset or --set: only the settings that then differ from the default.",
        examples=["losses", "--preset small"],
    )
    settings.add_argument(
        "section", nargs="?", metavar="SECTION", help="a section or a single setting (default: all)"
    )
    settings.add_argument("--json", action="store_true", help="print a JSON list instead")
    add_settings(settings, PRESETS, default=None)
    settings.set_defaults(command=_settings)


def _settings(options: argparse.Namespace) -> int:
    from schemas.setting_list import printed_settings
    from schemas.settings import with_overrides
    from trainer.config import Settings, preset

    changed = None
    if options.preset or options.overrides:
        changed = with_overrides(preset(options.preset or "paper"), options.overrides)
    print(printed_settings(Settings(), changed, options.section, as_json=options.json))
    return 0


def _fit(options: argparse.Namespace) -> int:
    from schemas.errors import SettingsError
    from schemas.settings import with_overrides
    from trainer.config import preset

    settings = with_overrides(preset(options.preset), options.overrides)
    given = {name: getattr(options, name) for name in ("weights", "where", "truth", "dressed", "selection")}
    settings = with_overrides(
        settings, [f"data.{name}={json.dumps(value)}" for name, value in given.items() if value]
    )
    if options.resume and options.start_from:
        raise SettingsError("--resume and --from cannot be combined.", remedy="Leave one of them out.")
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
        raise SettingsError(f"--out {path} does not end in .onnx or .pt2.", remedy="Give a name that does.")
    difference_m = makers[path.suffix](load_checkpoint(options.checkpoint), made_parent(path))
    print(f"wrote {shown(path)}; it differs from the network by at most {1000 * difference_m:.2g} mm")
    return 0
