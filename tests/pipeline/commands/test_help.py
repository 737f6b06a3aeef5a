"""Help by group, words typed wrong, exit codes, `--` and `--version`, of both programs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

import pipeline.commands.main
import trainer.cli
from pipeline.commands.main import RENAMED, make_parser, split_beam_arguments
from schemas.command_line import CommandParser, version
from schemas.errors import SettingsError
from tests.support.command_lines import every_command, parsed

PARSERS = {"pipeline": make_parser, "trainer": trainer.cli.make_parser}
COMMANDS = [(program, words) for program, make in PARSERS.items() for words in every_command(make())]
MAINS = {"pipeline": pipeline.commands.main.main, "trainer": trainer.cli.main}


def test_commands_stand_under_what_a_user_is_doing() -> None:
    text = make_parser().format_help()
    groups = re.findall(r"^(\S.*):\n((?:  .*\n)+)", text, re.M)
    listed = {title: re.findall(r"^  ([a-z]+) ", rows, re.M) for title, rows in groups}
    assert listed["make a dataset"] == ["fetch", "download", "plan", "run"]
    assert listed["keep it"] == ["dataset"]
    commands = make_parser().commands
    assert commands is not None
    assert sorted(name for names in listed.values() for name in names) == sorted(commands.parsers)
    assert re.search(r"^exit codes:\n  0    done\n", text, re.M)
    assert re.search(r"^  5    more clips failed", text, re.M)


@pytest.mark.parametrize("program", PARSERS)
@pytest.mark.parametrize("words", [[], ["group"]])
def test_no_command_prints_the_list_and_is_wrong_usage(
    program: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    group = {"pipeline": "dataset", "trainer": "tracknet"}[program]
    arguments = [group] if words else []
    assert MAINS[program](arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"usage: python -m {program} ")
    assert ("actions:" if words else "exit codes:") in said.err


@pytest.mark.parametrize("program", PARSERS)
def test_the_version_is_printed(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        MAINS[program](["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"humandepth {version()}\n"


@pytest.mark.parametrize(("program", "words"), COMMANDS)
def test_help_fits_80_columns_and_its_examples_are_understood(
    program: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    parser = PARSERS[program]()
    text = every_command(parser)[words].format_help()
    assert all(len(line) <= 80 for line in text.splitlines()), text
    for action in every_command(parser)[words]._actions:
        assert action.help, f"{words}: {action.dest} has no help"
    shown = text.partition("examples:\n")[2].replace("\\\n", " ")
    for line in shown.splitlines():
        call = f"python -m {program} "
        assert line.strip().startswith((f"{call}{words} ", f"{call}{words}")), line
        arguments, _ = split_beam_arguments(shlex.split(line)[3:])
        assert parsed(PARSERS[program](), arguments).command is not None


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_says_the_new_one(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert MAINS["pipeline"]([old, "dataset"]) == 2
    assert f"error: the command {old!r} is now {RENAMED[old]!r}." in capsys.readouterr().err
    assert RENAMED[old] in every_command(make_parser())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["adit", "dataset"], "'adit' is no command. Did you mean audit?"),
        (["merge", "a", "b"], "'merge' is no command. Did you mean dataset merge?"),
        (["xyzzy"], "'xyzzy' is no command. Give one of fetch, "),
        (["--verson"], "'--verson' is no command."),
        (["dataset", "verfy", "dataset"], "'verfy' is no action. Did you mean verify?"),
        (["studio", "--out", "films"], "'--out' is no action. Give one of film, run, truth, portraits."),
        (["plan", "clips", "--wrkers", "2"], "pipeline plan has no option '--wrkers'. Did you mean --workers?"),
        (["plan", "clips", "--work", "2"], "has no option '--work'."),
        (["doctor", "now"], "'now' is one word too many."),
        (["plan", "clips", "--workers", "two"], "argument --workers: invalid int value: 'two'. See: python -m"),
        (["plan"], "required: INPUT. See: python -m pipeline plan --help"),
        (["plan", "clips", "--workers", "0"], "--workers cannot be 0. Give 1 or more."),
        (["run", "clips", "--out", "o", "--", "--runer=DirectRunner"], "no option '--runer'. Did you mean --runner?"),
        (["dataset", "verify", "d", "--render", "-1"], "--render cannot be -1."),
        (["dataset", "compact", "d", "--megabytes", "0"], "--megabytes cannot be 0."),
        (["studio", "film", "--out", "f", "--seed", "-1"], "--seed cannot be -1."),
        (["audit", "d", "--save-selection", "calm"], "--save-selection calm was given without a filter to save."),
    ],
)  # fmt: skip
def test_words_typed_wrong(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert MAINS["pipeline"](arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    assert words in said


def test_dashes_end_the_options_but_of_run() -> None:
    options = parsed(make_parser(), ["download", "--out", "web", "--", "-wNyEUrxzFU", "--weird-id-x"])
    assert options.addresses == ["-wNyEUrxzFU", "--weird-id-x"]
    assert parsed(make_parser(), ["dataset", "verify", "--", "-folder"]).dataset == "-folder"
    assert split_beam_arguments(["download", "--", "-x"]) == (["download", "--", "-x"], [])
    assert split_beam_arguments(["run", "a", "--", "--runner=X", "--"]) == (
        ["run", "a"],
        ["--runner=X", "--"],
    )


def test_ctrl_c_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.commands.doctor.examine", interrupted)
    assert MAINS["pipeline"](["doctor"]) == 130
    assert capsys.readouterr().err == "error: stopped by Ctrl-C.\n"


def test_a_parser_error_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="See: x --help"):
        CommandParser(prog="x").parse_args(["--no"])


@pytest.mark.parametrize("program", ["pipeline", "trainer"])
def test_a_reader_that_has_seen_enough_ends_a_command_without_a_word(program: str) -> None:
    """As in `python -m pipeline settings | head -n 1`."""
    command = [sys.executable, "-m", program, "settings"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (141, "")
