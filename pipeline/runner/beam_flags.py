"""What follows `--` is for Beam, which only warns of options it does not know: here they are refused."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions, _BeamArgumentParser

from schemas.command_line import nearest
from schemas.errors import SettingsError

JOB_SERVERS = ("portable", "flink", "spark", "prism")
"""Runners whose job server may take options that Beam's Python side does not know: only misspelt ones are refused."""
_REMEDY = "Beam lists its options in PipelineOptions; options of `run` itself come before --."


def check_flags(beam_args: Sequence[str]) -> None:
    """Raises SettingsError for a word that is no option of Beam, naming the option that is most like it."""
    parser = _beam_parser()
    try:
        options, unknown = parser.parse_known_args(list(beam_args))
    except argparse.ArgumentError as error:
        raise SettingsError(
            f"Beam's option {error.argument_name}: {error.message}.", remedy="Correct what comes after --."
        ) from None
    runner = _checked_runner(options.runner)
    has_server = runner.removesuffix("runner") in JOB_SERVERS
    known = [flag for action in parser._actions for flag in action.option_strings]
    for word in unknown:
        flag = word.partition("=")[0]
        if not flag.startswith("-"):
            if has_server:  # the value of an option that Beam does not know either
                continue
            raise SettingsError(f"{word!r}, after --, is no option of Beam.", remedy=_REMEDY)
        remedy = nearest(flag, known, _REMEDY, likeness=0.85 if has_server else 0.6)
        if not has_server or remedy is not _REMEDY:
            raise SettingsError(f"Beam has no option {flag!r}.", remedy=remedy)


def _checked_runner(name: str | None) -> str:
    """A runner's name in lower case: one that Beam knows, or a class with its module."""
    known = [path.rpartition(".")[2] for path in StandardOptions.ALL_KNOWN_RUNNERS]
    given = name or "DirectRunner"
    lower = [runner.lower() for runner in known]
    if "." not in given and not {given.lower(), f"{given.lower()}runner"} & set(lower):
        raise SettingsError(
            f"Beam has no runner {given!r}.", remedy=nearest(given, known, f"Known: {', '.join(known)}.")
        )
    return given.lower()


def _beam_parser() -> _BeamArgumentParser:
    """Every option of every part of Beam, as `PipelineOptions.get_all_options` gathers them."""
    parser = _BeamArgumentParser(allow_abbrev=False, add_help=False, exit_on_error=False)
    for kind in {str(kind): kind for kind in PipelineOptions.__subclasses__()}.values():
        kind._add_argparse_args(parser)
    return parser
