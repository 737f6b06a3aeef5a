"""The manners that both programs' command lines share: help by what a user is doing, errors of one line, exit codes.

`argparse` lists all commands in one flat list. A `CommandParser` that has `commands` prints them under headings, and
what a user types wrong ends with one line that names the nearest right word.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any, NoReturn

from schemas.errors import HumandepthError, SettingsError, StorageError
from schemas.escaping import shown
from schemas.places import about_argument

EXIT_CODES = {
    0: "done",
    1: "error: an input, dataset or model is missing, damaged or refused",
    2: "wrong usage: an unknown command, option, setting or value",
    130: "stopped by Ctrl-C (SIGINT)",
    143: "stopped by SIGTERM",
}
"""What both programs end with. A program adds codes of its own."""
INTERRUPTED = 130
READER_GONE = 141
"""What a program ends with that SIGPIPE ends; nothing is said about it."""
WIDEST = 100
_HELP = ("-h", "--help")


class CommandParser(argparse.ArgumentParser):
    """A parser without abbreviated options whose errors are `SettingsError`, and whose help lists commands by group."""

    commands: Commands | None = None

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raises what argparse would print with its usage."""
        raise SettingsError(f"{shown(message).rstrip('.')}.", remedy=f"See: {self.prog} --help")

    def format_help(self) -> str:
        """The help; of a parser with commands, these under their headings."""
        if self.commands is None:
            return super().format_help()
        width = _width()
        parts = [self.format_usage(), *(self.description or "").split("\n\n")]
        text = "\n\n".join(textwrap.fill(part.strip(), width) for part in parts if part.strip())
        return f"{text}\n\n{self.commands.listed(width)}\n{self.epilog or ''}".rstrip() + "\n"


class Commands:
    """The commands of a program, or the actions of one of its commands, under headings."""

    def __init__(self, parser: CommandParser, word: str) -> None:
        self.word = word
        self.parsers: dict[str, CommandParser] = {}
        self._prog = parser.prog
        self._subparsers = parser.add_subparsers(metavar=word, prog=parser.prog)
        self._groups: list[tuple[str, list[tuple[str, str]]]] = []
        parser.commands = self
        parser.set_defaults(command=lambda options: _print_help(parser), parser=parser)

    def heading(self, title: str) -> None:
        """Commands that are added next stand under this in the help."""
        self._groups.append((title, []))

    def add(self, name: str, summary: str, *, about: str = "", examples: Sequence[str] = ()) -> CommandParser:
        """A command: `summary` is its line in the list, `about` what else its own help says."""
        if not self._groups:
            self.heading(f"{self.word.lower()}s")
        self._groups[-1][1].append((name, summary))
        says = f"{summary[0].upper()}{summary[1:].rstrip('.')}."
        parser = self._subparsers.add_parser(
            name,
            description=textwrap.fill(f"{says} {about}".strip(), 78),
            epilog=_examples(f"{self._prog} {name}", examples),
        )
        assert isinstance(parser, CommandParser)
        parser.set_defaults(parser=parser)
        self.parsers[name] = parser
        return parser

    def add_family(self, name: str, summary: str, *, about: str = "") -> Commands:
        """A command that has actions of its own."""
        parser = self.add(name, summary, about=about)
        parser.epilog = f"More about one of them: {parser.prog} ACTION --help"
        return Commands(parser, "ACTION")

    def listed(self, width: int) -> str:
        """The groups, one command a line."""
        column = 4 + max(len(name) for _, rows in self._groups for name, _ in rows)
        return "\n".join(
            f"{title}:\n" + "".join(_row(name, summary, column, width) for name, summary in rows)
            for title, rows in self._groups
        )

    def __contains__(self, name: str) -> bool:
        return name in self.parsers


def program(name: str, description: str, codes: Mapping[int, str]) -> CommandParser:
    """The parser of `python -m NAME`, with `--version` and what it may end with."""
    known = dict(sorted({**EXIT_CODES, **codes}.items()))
    rows = "".join(_row(str(code), says, 7, _width()) for code, says in known.items())
    parser = CommandParser(
        prog=f"python -m {name}",
        usage=f"python -m {name} [--help] [--version] COMMAND ...",
        description=description,
        epilog=f"More about one of them: python -m {name} COMMAND --help\n\nexit codes:\n{rows}",
    )
    parser.add_argument("--version", action="version", version=f"humandepth {version()}")
    return parser


def version() -> str:
    """The installed version, or `unknown (not installed)` for a tree that was never installed."""
    try:
        return metadata.version("humandepth")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


def run_command(
    parser: CommandParser, argv: Sequence[str], *, package: str, renamed: Mapping[str, str] | None = None
) -> int:
    """Runs the command that `argv` asks for and returns its exit code; expected failures become one line.

    A command's parser sets `command`, and `extra` where it needs other packages than those of `humandepth[PACKAGE]`.
    """
    options = argparse.Namespace()
    try:
        options = parse(parser, argv, renamed or {})
        code = int(options.command(options))
        sys.stdout.flush()
        return code
    except HumandepthError as error:
        return _said(error, error.exit_code)
    except StorageError as error:
        return _said(error, 1)
    except BrokenPipeError:  # whoever read along, such as `head`, has seen enough
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # nothing is left to be flushed into it
        return READER_GONE
    except OSError as error:
        known = about_argument(error, vars(options).values())
        if known is None:
            raise
        return _said(known, known.exit_code)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in ("schemas", package):
            raise
        extra = getattr(options, "extra", package)
        return _said(f"{error.name} is not installed. Run: pip install 'humandepth[{extra}]'", 1)
    except KeyboardInterrupt:
        return _said("stopped by Ctrl-C.", INTERRUPTED)


def parse(parser: CommandParser, argv: Sequence[str], renamed: Mapping[str, str]) -> argparse.Namespace:
    """The arguments as a namespace. Raises SettingsError naming what is unknown and the nearest known word."""
    check_commands(parser, argv, renamed)
    options, unknown = parser.parse_known_args(list(argv))
    if unknown:
        _refuse(options.parser, unknown)
    return options


def nearest(word: str, known: Iterable[str], otherwise: str, *, likeness: float = 0.6) -> str:
    """A remedy: the known word that is most like this one, or the other remedy where none is like it."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=likeness)
    return f"Did you mean {near[0]}?" if near else otherwise


def add_settings(
    parser: argparse.ArgumentParser,
    presets: Sequence[str],
    *,
    default: str | None,
    what: str = "",
    see: str = "",
) -> None:
    """`--preset` and `--set`: the settings to begin with, and changes of them."""
    names = ", ".join(presets)
    of = f" of {what}" if what else ""
    parser.add_argument(
        "--preset",
        metavar="NAME",
        default=default,
        help=f"settings{of} to begin with: {names}" + (f" (default: {default})" if default else ""),
    )
    add_overrides(parser, what=what, see=see)


def add_overrides(
    parser: argparse.ArgumentParser, *, what: str = "", see: str = "", form: str = "SECTION.FIELD=VALUE"
) -> None:
    """`--set`, which may be given more than once; `see` says where names are listed, or gives an example."""
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar=form,
        action="append",
        default=[],
        help="change a setting"
        + (f" of {what}" if what else "")
        + "; repeatable"
        + (f" ({see})" if see else ""),
    )


def at_least_one(options: argparse.Namespace, *names: str) -> None:
    """Raises SettingsError where an option that counts something is below 1."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise SettingsError(f"--{name.replace('_', '-')} cannot be {value}.", remedy="Give 1 or more.")


def check_commands(parser: CommandParser, argv: Sequence[str], renamed: Mapping[str, str]) -> None:
    """Raises SettingsError where the words in front name no command."""
    words = list(argv)
    while parser.commands is not None and words and words[0] not in _HELP:
        word, commands = words.pop(0), parser.commands
        if word in commands:
            parser, renamed = commands.parsers[word], {}
            continue
        if word in renamed:
            raise SettingsError(
                f"the command {word!r} is now {renamed[word]!r}.",
                remedy=f"See: {parser.prog} {renamed[word]} --help",
            )
        if word == "--version":
            return
        otherwise = f"Give one of {', '.join(commands.parsers)}."
        inner = [f"{name} {word}" for name, each in commands.parsers.items() if word in (each.commands or ())]
        raise SettingsError(
            f"{parser.prog}: {word!r} is no {commands.word.lower()}.",
            remedy=f"Did you mean {inner[0]}?" if inner else nearest(word, commands.parsers, otherwise),
        )


def _refuse(parser: CommandParser, unknown: Sequence[str]) -> NoReturn:
    flags = [word for word in unknown if word.startswith("-")]
    if not flags:
        raise SettingsError(
            f"{parser.prog}: {unknown[0]!r} is one word too many.", remedy=f"See: {parser.prog} --help"
        )
    flag = flags[0].partition("=")[0]
    known = re.findall(r"--[a-z][a-z-]*", parser.format_usage())
    raise SettingsError(
        f"{parser.prog} has no option {flag!r}.", remedy=nearest(flag, known, f"See: {parser.prog} --help")
    )


def _print_help(parser: CommandParser) -> int:
    """No command was given: the list of them, as an error."""
    print(parser.format_help(), end="", file=sys.stderr)
    return SettingsError.exit_code


def _said(error: object, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


def _examples(call: str, examples: Sequence[str]) -> str | None:
    """Calls of the command, with the shell's backslash where a line ends early."""
    lines = ["examples:"]
    for each in examples:
        first, *options = re.split(r" (?=--)", f"{call} {each}".strip())
        lines.append(f"  {first}")
        for option in options:
            if len(f"{lines[-1]} {option}") <= 76:
                lines[-1] += f" {option}"
            else:
                lines[-1] += " \\"
                lines.append(f"      {option}")
    return "\n".join(lines) if examples else None


def _row(name: str, says: str, column: int, width: int) -> str:
    first = f"  {name}".ljust(column)
    return textwrap.fill(says, width, initial_indent=first, subsequent_indent=" " * column) + "\n"


def _width() -> int:
    return min(shutil.get_terminal_size().columns, WIDEST + 2) - 2
