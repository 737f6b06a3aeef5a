"""Every path that a command takes, given as what it cannot be: one line that names it, and no traceback."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

import pipeline.commands.main
import trainer.cli
from pipeline.runner.driver import run
from pipeline.video.source import clips_from_arguments
from schemas.places import about_argument, existing_file, file_to_write, folder_or_bucket, folder_to_write
from tests.support.command_lines import every_command
from tests.support.fast_units import fast_resources, fast_settings, write_clips

pytestmark = pytest.mark.usefixtures("demo_clip")  # `run` looks for the models
COMMANDS = """
pipeline download abcdefghijk --out {no-folder}
pipeline run clip.mp4 --out {no-folder}
pipeline run {no-input} --out new
pipeline run clip.mp4 --out new --selection {no-dataset}:name
pipeline plan clip.mp4 --out {no-folder}
pipeline plan clip.mp4 --like {no-dataset}
pipeline audit {no-dataset}
pipeline audit dataset {no-dataset}
pipeline audit dataset --out {no-file} --pictures 0
pipeline audit dataset --json {no-file}
pipeline audit dataset --splits {no-input}
pipeline audit dataset --training {no-dataset}
pipeline gallery {no-dataset} --out new.html
pipeline gallery dataset --out {no-file}
pipeline gallery dataset --out new.html --predictions {no-dataset}
pipeline inspect {no-input} --out new
pipeline inspect clip.mp4 --out {no-folder}
pipeline show pair {no-dataset} --out new.png
pipeline show pair dataset --out {no-file}.png
pipeline show frame {no-dataset} --out new.png
pipeline show frame dataset --out {no-file}.png
pipeline dataset verify {no-dataset}
pipeline dataset forget {no-dataset} --source x
pipeline dataset compact {no-dataset}
pipeline dataset merge dataset {no-dataset} --out new
pipeline dataset merge dataset dataset2 --out {no-folder}
pipeline dataset dressed {no-dataset} --out new
pipeline dataset dressed dataset --out {no-folder}
pipeline dataset clothes {no-dataset} --out new.npz
pipeline dataset clothes dataset --out {no-file}
pipeline studio film --out {no-folder} --clips 1
pipeline studio film --out new --backgrounds {no-dataset} --clips 1
pipeline studio portraits --out {no-file} --clips 1 --per-clip 1
pipeline studio portraits --out new.parquet --backgrounds {no-dataset} --clips 1 --per-clip 1
pipeline studio truth dataset --studio {no-dataset} --out new
pipeline studio truth {no-dataset} --studio folder --out new
pipeline studio truth dataset --studio folder --out {no-folder}
pipeline studio run {no-dataset} --out new
pipeline studio run folder --out {no-folder}
pipeline body import {no-input}
pipeline body import file --out {no-file}
pipeline body convert {no-result} --format amass --out new.npz
pipeline body convert bodies.npz --format amass --out {no-file}
pipeline body convert bodies.npz --format mapping --mapping {no-input} --out new.npz
pipeline body portraits {no-input} --bodies bodies.npz --out new.parquet
pipeline body portraits clip.mp4 --bodies {no-input} --out new.parquet
pipeline body portraits clip.mp4 --bodies bodies.npz --body {no-input} --out new.parquet
pipeline body portraits clip.mp4 --bodies bodies.npz --out {no-file}
pipeline body export --out {no-file}
pipeline body build --out {no-folder}
trainer fit {no-dataset} --out new
trainer fit dataset --out {no-folder} --preset small
trainer fit dataset --out new --preset small --from {no-dataset}
trainer predict {no-input} --checkpoint folder --out new
trainer predict clip.mp4 --checkpoint {no-dataset} --out new
trainer predict --dataset {no-dataset} --checkpoint folder --out new
trainer predict clip.mp4 --checkpoint folder --out {no-folder}
trainer evaluate {no-dataset} --truth folder
trainer evaluate folder --truth {no-dataset}
trainer evaluate folder --truth folder --out {no-file}
trainer evaluate folder --views {no-input}
trainer probe {no-dataset} --out new
trainer probe dataset --out {no-folder}
trainer export --checkpoint {no-dataset} --out new.onnx
trainer export --checkpoint folder --out {no-file}
trainer tracknet fit {no-dataset} --body bodies.npz --out new
trainer tracknet fit dataset --body bodies.npz --out {no-folder}
trainer tracknet fit dataset --body bodies.npz --out new --backgrounds {no-dataset}
trainer tracknet convert {no-input} --out new
trainer tracknet convert file --out {no-folder}
trainer tracknet export --checkpoint {no-dataset} --out new.onnx
trainer tracknet export --checkpoint folder --out {no-file}
"""
BAD = {
    "no-folder": ("file", "file/below", "/proc/no/folder"),
    "no-file": ("folder", "file/below", "/proc/no/file", "new/"),
    "no-dataset": ("file", "folder", "missing"),
    "no-result": ("file", "missing", "file/below"),
    "no-input": ("folder", "missing", "file/below"),
}
CASES = [
    re.sub(r"\{.*\}", bad, line)
    for line in COMMANDS.strip().splitlines()
    for bad in BAD[re.search(r"\{(.*)\}", line)[1]]  # type: ignore[index]
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paths")
    manifest = write_clips(folder / "clips", ["a"])
    run(
        clips_from_arguments([str(manifest)]),
        str(folder / "dataset"),
        fast_settings(),
        make_resources=fast_resources,
    )
    (folder / "clips" / "a.mp4").rename(folder / "clip.mp4")
    (folder / "file").write_text("neither numbers nor a film\n")
    for name in ("folder", "folder.png"):
        (folder / name).mkdir()
    count = 2
    np.savez(
        folder / "bodies.npz",
        person=np.zeros(count, int),
        frame_index=np.arange(count),
        pose=np.zeros((count, 24, 3)),
        betas=np.zeros((count, 10)),
        translation_m=np.full((count, 3), 4.0),
        focal_px=np.full(count, 900.0),
    )
    return folder


@pytest.mark.parametrize("line", CASES)
def test_a_path_that_cannot_be_is_one_line(
    place: Path, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    program, *arguments = line.split()
    code = {"pipeline": pipeline.commands.main, "trainer": trainer.cli}[program].main(arguments)
    said = capsys.readouterr().err.strip().splitlines()
    assert code in (1, 2), said
    assert said[-1].startswith("error: "), said
    named = [re.split("[/:]", word)[0] or word for word in arguments[1:] if not word.startswith("--")]
    assert any(word in said[-1] for word in named)
    assert sorted(place.rglob("*")) == before  # nothing was begun


def test_every_command_is_tried() -> None:
    """A new command, or a new option for a path, has to be added above."""
    taken = {line.split("{")[0] for line in COMMANDS.strip().splitlines()}
    for program, parser in (
        ("pipeline", pipeline.commands.main.make_parser()),
        ("trainer", trainer.cli.make_parser()),
    ):
        for name in set(every_command(parser)) - {"fetch", "doctor", "settings", "dataset columns"}:
            assert any(each.startswith(f"{program} {name} ") for each in taken), f"{program} {name}"


def test_places(tmp_path: Path) -> None:
    assert file_to_write(str(tmp_path / "new" / "a.json")) == str(tmp_path / "new" / "a.json")
    assert folder_to_write(str(tmp_path / "new" / "deep")) == str(tmp_path / "new" / "deep")
    assert folder_or_bucket("gs://bucket/x") == "gs://bucket/x"
    (tmp_path / "a").write_text("")
    assert file_to_write(str(tmp_path / "a")) == existing_file(str(tmp_path / "a")) == str(tmp_path / "a")
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]  # asking makes nothing


def test_only_what_the_system_says_about_an_argument_is_the_users(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory") as caught:
        os.listdir(tmp_path / "given" / "deep")
    assert "given/deep: No such file" in str(
        about_argument(caught.value, [3, None, [str(tmp_path / "given")]])
    )
    assert "given/deep" in str(about_argument(caught.value, [f"name={tmp_path}/given"]))
    assert about_argument(caught.value, [str(tmp_path / "giv"), str(tmp_path / "other")]) is None
    above = FileNotFoundError(2, "No such file or directory", "/proc/no")  # while a missing folder is made
    assert "/proc/no: No such file" in str(about_argument(above, ["/proc/no/such/file"]))
    assert about_argument(FileNotFoundError(2, "?", "/"), ["/proc/no"]) is None
    assert about_argument(OSError(5, "Input/output error", str(tmp_path)), [str(tmp_path)]) is None
    assert "full" in str(about_argument(OSError(28, "No space left on device"), []))
    assert json.dumps(str(about_argument(OSError(21, "x", os.fsencode(tmp_path)), [str(tmp_path)])))


@pytest.mark.parametrize(
    "line",
    [
        "pipeline run clip.mp4 --out NAME",
        "pipeline audit NAME",
        "pipeline studio portraits --out NAME.parquet",
        "trainer fit NAME --out new",
        "trainer fit dataset --out NAME",
    ],
)
def test_tables_have_plain_names(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Arrow opens no path that is not UTF-8: said before anything is done."""
    program, *arguments = line.replace("NAME", os.fsdecode(b"caf\xe9")).split()
    assert {"pipeline": pipeline.commands.main, "trainer": trainer.cli}[program].main(arguments) == 2
    assert "caf\\xe9" in capsys.readouterr().err
