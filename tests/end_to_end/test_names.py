"""Names that are no plain text: the run goes on, each clip is there under its escaped name, no line is forged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from pipeline.video.source import clips_from_arguments, local_path
from schemas.dataset import CROISSANT_PATH, Dataset
from schemas.escaping import is_plain
from tests.support.clips import even_times, moving_blob, write_clip
from tests.support.fast_units import FPS, FRAMES, SIDE_PX, fast_command

pytestmark = pytest.mark.usefixtures("demo_clip")  # `run` looks for the models
GOOD = (b"caf\xe9.mp4", "é.mp4".encode(), unicodedata.normalize("NFD", "é.mp4").encode(), b"a\\xe9.mp4")
EMPTY = (
    b"empty\xff.mp4",
    b"two\nerror: lines.mp4",
    b"\x1b[2J.mp4",
    "\u202egp4.mp4".encode(),
    b"n" * 251 + b".mp4",
)
ASCII = {
    **os.environ,
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "ascii",
}
"""An environment in which Python can print ASCII alone, and reads every other file name as surrogates."""


def in_ascii(*command: str | Path | bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, env=ASCII, capture_output=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[bytes]]:
    """A dataset of clips of such names, in a folder of such a name, made by two worker processes."""
    work = tmp_path_factory.mktemp("names")
    folder = os.fsencode(work) + b"/films\xe9"
    os.mkdir(folder)
    clip = write_clip(work / "clip.mp4", moving_blob((SIDE_PX, SIDE_PX)), even_times(FRAMES, FPS))
    for name in GOOD:
        shutil.copy(clip, folder + b"/" + name)
    for name in EMPTY:
        (Path(os.fsdecode(folder)) / os.fsdecode(name)).write_bytes(b"")
    (Path(os.fsdecode(folder)) / os.fsdecode(b"photo.\xe9\x1b")).write_bytes(b"")
    out = work / "data\x1bset"
    command = fast_command("run", "FOLDER", "--out", out, "--workers", "2")
    return out, in_ascii(*[folder if part == "FOLDER" else part for part in command])


def escaped_names(names: tuple[bytes, ...]) -> set[str]:
    known = {b"a\\xe9.mp4": r"a\\xe9.mp4", b"caf\xe9.mp4": r"caf\xe9.mp4", b"empty\xff.mp4": r"empty\xff.mp4"}
    known |= {b"two\nerror: lines.mp4": r"two\x0aerror: lines.mp4", b"\x1b[2J.mp4": r"\x1b[2J.mp4"}
    known[EMPTY[3]] = r"\xe2\x80\xaegp4.mp4"
    return {known.get(name, name.decode("utf-8", "replace")) for name in names}


def test_every_clip_is_kept_or_a_failure_under_its_escaped_name(made: tuple) -> None:
    root, done = made
    assert done.returncode == 3, done.stderr.decode()
    clips = {os.path.basename(row["uri"]): row for row in Dataset.open(root).rows("clips")}
    assert set(clips) == escaped_names(GOOD + EMPTY)
    assert {name for name, row in clips.items() if row["outcome"] == "kept"} == escaped_names(GOOD)
    failures = list(Dataset.open(root).rows("failures"))
    assert {os.path.basename(row["uri"]) for row in failures} == escaped_names(EMPTY)
    assert all(os.path.basename(row["uri"]) in row["message"] for row in failures)
    for row in clips.values():  # the escaped name opens the file
        assert os.path.isfile(local_path(row["uri"]))
    assert len({row["clip_id"] for row in clips.values()}) == len(clips)


def test_no_name_commands_the_terminal(made: tuple) -> None:
    _, done = made
    said = done.stdout + done.stderr
    assert all(byte in b"\n\t" or 0x20 <= byte < 0x7F for byte in said), said
    assert b"\nerror: lines" not in said
    assert b"Traceback" not in said
    assert rb"films\xe9/caf\xe9" not in done.stderr  # kept: nothing to say
    assert rb"films\xe9/empty\xff.mp4: is empty" in done.stderr
    assert rb"1 file(s) (1 .\xe9\x1b)" in done.stderr


@pytest.mark.parametrize(
    "command", ["audit", "plan", "dataset verify", "show pair", "dataset columns", "dataset forget"]
)
def test_commands_on_such_a_dataset(made: tuple, command: str, tmp_path: Path) -> None:
    root = Path(shutil.copytree(made[0], tmp_path / "data\x1bset"))
    films = os.fsencode(made[0].parent) + b"/films\xe9"
    page = os.fsencode(tmp_path) + b"/report\xe9.html"
    source = next(row["source_id"] for row in Dataset.open(root).rows("clips") if r"caf\xe9" in row["uri"])
    arguments: dict[str, list] = {
        "audit": [root, "--out", page, "--json", tmp_path / "a.json"],
        "plan": [films, "--out", root],
        "dataset verify": [root, "--render", "2"],
        "show pair": [root, "--out", tmp_path / "pair.png"],
        "dataset columns": [],
        "dataset forget": [root, "--source", source],
    }
    done = in_ascii(sys.executable, "-m", "pipeline", *command.split(), *arguments[command])
    assert done.returncode == 0, done.stderr.decode()
    assert b"\x1b" not in done.stdout + done.stderr
    if command == "audit":
        assert source in (tmp_path / "a.json").read_text()
        assert source in Path(os.fsdecode(page)).read_bytes().decode()
        assert is_plain(json.loads((tmp_path / "a.json").read_text())["dataset"])
    if command == "dataset forget":
        assert not any(row["source_id"] == source for row in Dataset.open(root).rows("clips"))


def test_documents_can_be_read_as_utf8(made: tuple) -> None:
    for path in ("README.md", CROISSANT_PATH, "meta/manifest.json", "meta/settings.json"):
        text = (made[0] / path).read_bytes().decode()
        assert all(is_plain(line) for line in text.split("\n"))


def manifest_bytes(kind: str, folder: Path) -> bytes:
    name, licence = b"caf\xe9.mp4", b"libre \xe9\x1b[31m"
    if kind == ".csv":
        return b"uri,licence\n" + name + b"," + licence + b"\nnone\xe9.mp4,\n"
    rows = [
        {"uri": os.fsdecode(name), "licence": os.fsdecode(licence)},
        {"uri": "\ud800.mp4"},
        {"uri": "a\0.mp4"},
    ]
    return "\n".join(map(json.dumps, rows)).encode()


@pytest.mark.parametrize("kind", [".csv", ".jsonl"])
def test_manifests_may_hold_such_names_and_texts(kind: str, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9"))
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"x")
    path = folder / f"clips\x1b{kind}"
    path.write_bytes(manifest_bytes(kind, folder))
    first, *others = clips_from_arguments([str(path)])
    assert first.uri == f"{tmp_path}/\\xe9/caf\\xe9.mp4"
    assert local_path(first.uri).read_bytes() == b"x"
    assert first.licence == r"libre \xe9\x1b[31m"
    assert [os.path.basename(clip.uri) for clip in others] == (
        [r"none\xe9.mp4"] if kind == ".csv" else [r"\xed\xa0\x80.mp4", r"a\x00.mp4"]
    )
