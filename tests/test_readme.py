"""What README and docs say about tables, commands and settings is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from pipeline.commands.main import RENAMED, make_parser, split_beam_arguments
from pipeline.config import Settings
from pipeline.dataset.card import column_tables
from pipeline.runner.beam_flags import check_flags
from pipeline.runner.spark_session import spark_settings
from pipeline.studio.settings import StudioSettings
from schemas.command_line import check_commands
from schemas.errors import SettingsError
from schemas.setting_list import settings_in
from tests.support.command_lines import calls_in, every_command, parsed
from trainer.cli import make_parser as make_trainer_parser
from trainer.config import LossSettings, preset
from trainer.config import Settings as TrainerSettings
from trainer.model import ReconNet, parameter_count

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))
}
CALLS = [(page, *call) for page, text in PAGES.items() for call in calls_in(text)]
MAKERS = {"pipeline": make_parser, "trainer": make_trainer_parser}


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 150


def test_the_column_tables_are_those_of_the_schemas() -> None:
    (page,) = [text for text in PAGES.values() if "<!-- columns: begin" in text]
    begin, end = page.index("<!-- columns: begin"), page.index("<!-- columns: end")
    stated = page[begin:end].split("-->", 1)[1]
    assert stated.strip() == column_tables().strip(), "run: python -m pipeline dataset columns, and paste it"


@pytest.mark.parametrize(
    ("page", "program", "arguments", "is_whole"),
    CALLS,
    ids=[f"{c[0]}:{c[1]} {' '.join(c[2])}" for c in CALLS],
)
def test_every_command_that_is_shown_is_understood(
    page: str, program: str, arguments: list[str], is_whole: bool
) -> None:
    """Lines of code blocks as they stand; what prose names need not be complete."""
    arguments, beam_args = split_beam_arguments(arguments) if program == "pipeline" else (arguments, [])
    if "spark" in arguments:
        spark_settings(tuple(beam_args))
    else:
        check_flags(beam_args)
    parser = MAKERS[program]()
    try:
        options = parsed(parser, arguments)
    except SettingsError as error:
        if is_whole or "are required" not in error.message:
            raise
        check_commands(parser, arguments, RENAMED)
        return
    for override in getattr(options, "overrides", []):
        assert override.partition("=")[0] in _settings_of(program, arguments), override


def _settings_of(program: str, arguments: list[str]) -> set[str]:
    if arguments[0] == "studio" and arguments[1] != "run":
        return {setting.name for setting in settings_in(StudioSettings())}
    if program == "pipeline" or arguments[0] == "predict":
        return {setting.name for setting in settings_in(Settings())}
    if arguments[0] == "probe":
        return {setting.name for setting in settings_in(LossSettings())}
    return {setting.name for setting in settings_in(TrainerSettings())}


def test_every_command_is_shown_somewhere() -> None:
    """So that a reader of README and docs meets every command; groups by their name alone are not enough."""
    shown = {f"{program} {' '.join(arguments[:2])} " for _, program, arguments, _ in CALLS}
    for program, make in MAKERS.items():
        for words in set(every_command(make())) - {"body build", "dataset columns"}:
            assert any(f"{each} ".startswith(f"{program} {words} ") for each in shown), f"{program} {words}"


def test_the_networks_have_the_sizes_that_are_stated() -> None:
    stated = re.findall(r"^\| `([a-z]+)` \| ([0-9.]+) M \|", "\n".join(PAGES.values()), re.M)
    assert stated
    for name, millions in stated:
        with torch.device("meta"):
            count = parameter_count(ReconNet(preset(name).model))
        assert abs(count / 1e6 - float(millions)) < 0.06, name


def test_every_make_target_that_is_shown_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    text = "\n".join([*PAGES.values(), (ROOT / "CONTRIBUTING.md").read_text()])
    named = {target for pair in re.findall(r"^make ([a-z]+)|`make ([a-z]+)\b", text, re.M) for target in pair}
    assert len(named - {""}) > 8
    for target in named - {""}:
        assert re.search(rf"^{target}:", makefile, re.M), target
