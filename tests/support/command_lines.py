"""The commands of a program, walked, and the calls of them that a text shows."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator

from schemas.command_line import CommandParser, parse


def every_command(parser: CommandParser, words: str = "") -> dict[str, CommandParser]:
    """The parser of every command that does something, by its words: `dataset verify`."""
    if parser.commands is None:
        return {words: parser}
    found = {}
    for name, each in parser.commands.parsers.items():
        found |= every_command(each, f"{words} {name}".strip())
    return found


def calls_in(markdown: str) -> Iterator[tuple[str, list[str], bool]]:
    """Every call of a program: its name, its arguments, and whether it stands in a code block, so is complete."""
    for at, part in enumerate(re.split(r"^```.*$", markdown, flags=re.M)):
        is_block = at % 2 == 1
        joined = re.sub(r"\\\n\s*", " ", part)
        lines = joined.splitlines() if is_block else re.findall(r"`([^`]+)`", " ".join(joined.split()))
        for line in lines:
            if found := re.search(r"python -m (pipeline|trainer)(?![.\w])(.*)", line):
                words = shlex.split(found[2], comments=True)
                yield found[1], [word for word in words if not word.startswith("$")], is_block


def parsed(parser: CommandParser, arguments: list[str]) -> argparse.Namespace:
    """The arguments as a command reads them, whether or not its files are there. Raises SettingsError.

    A word in capitals stands for a value, also for a number.
    """
    for each in every_command(parser).values():
        for action in each._actions:
            if action.type not in (int, float):
                action.type = None
    return parse(parser, ["1" if word.isupper() else word for word in arguments], {})
