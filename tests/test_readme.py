"""What the README says about tables and commands is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from pipeline.commands.main import _parser
from pipeline.dataset.card import column_tables
from trainer.cli import _parser as trainer_parser
from trainer.config import preset
from trainer.model import ReconNet, parameter_count

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()


def test_the_column_tables_are_those_of_the_schemas() -> None:
    begin, end = README.index("<!-- columns: begin"), README.index("<!-- columns: end")
    stated = README[begin:end].split("-->", 1)[1]
    assert stated.strip() == column_tables().strip(), "run: python -m pipeline columns, and paste it"


def test_every_pipeline_command_the_readme_names_exists() -> None:
    known = set(_parser()._subparsers._group_actions[0].choices)  # type: ignore[union-attr, arg-type]
    named = set(re.findall(r"python -m pipeline ([a-z]+)", README))
    assert named
    assert named <= known


def test_every_trainer_command_and_preset_the_readme_names_exists() -> None:
    known = set(trainer_parser()._subparsers._group_actions[0].choices)  # type: ignore[union-attr, arg-type]
    named = set(re.findall(r"python -m trainer ([a-z]+)", README))
    assert named == known
    for name, millions in re.findall(r"^\| `([a-z]+)` \| ([0-9.]+) M \|", README, re.M):
        with torch.device("meta"):
            count = parameter_count(ReconNet(preset(name).model))
        assert abs(count / 1e6 - float(millions)) < 0.06, name


def test_every_make_target_the_readme_names_exists() -> None:
    makefile = (Path(__file__).resolve().parent.parent / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z]+)\b", README)):
        assert re.search(rf"^{target}:", makefile, re.M), target
