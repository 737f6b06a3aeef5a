"""`python -m pipeline COMMAND`: the commands, grouped by what a user is doing, and how each of them ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pipeline.commands import (
    audit,
    body,
    dataset,
    doctor,
    download,
    fetch,
    gallery,
    inspection,
    plan,
    run,
    settings,
    show,
    studio,
)
from pipeline.host.logs import quieten_libraries
from schemas.command_line import CommandParser, Commands, program, run_command
from schemas.escaping import escape_on_terminal

_DESCRIPTION = "From video clips to a Parquet dataset for learning the depth of people."
_EXIT_CODES = {
    3: "done, but some clips failed: see the table `failures`",
    4: "nothing was kept: no clip gave a sample",
    5: "more clips failed than the setting run.max_failed_share allows",
}
_GROUPS = {
    "make a dataset": (fetch, download, plan, run),
    "look at it": (audit, gallery, show, inspection),
    "keep it": (dataset,),
    "bodies from other programs": (body,),
    "made-up people, of whom everything is known": (studio,),
    "this machine and its settings": (doctor, settings),
}
RENAMED = {
    "verify": "dataset verify",
    "compact": "dataset compact",
    "forget": "dataset forget",
    "columns": "dataset columns",
    "view": "show pair",
    "portraits": "studio portraits",
    "truth": "studio truth",
    "studio-run": "studio run",
}
"""Commands of version 0.1 and what they are called now: the old name is an error that says so."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code (see `python -m pipeline --help`)."""
    escape_on_terminal()
    arguments, beam_args = split_beam_arguments(list(sys.argv[1:] if argv is None else argv))
    quieten_libraries()
    parser = make_parser()
    parser.set_defaults(beam_args=beam_args)
    return run_command(parser, arguments, package="pipeline", renamed=RENAMED)


def make_parser() -> CommandParser:
    """The parser of all commands."""
    parser = program("pipeline", _DESCRIPTION, _EXIT_CODES)
    commands = Commands(parser, "COMMAND")
    for title, modules in _GROUPS.items():
        commands.heading(title)
        for module in modules:
            module.add_to(commands)
    return parser


def split_beam_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """For `run`, what follows a lone `--` goes to Beam; for other commands `--` ends the options, as elsewhere."""
    if arguments[:1] != ["run"] or "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]
