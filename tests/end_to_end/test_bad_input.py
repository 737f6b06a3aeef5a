"""Bad input: one line that names the thing and the remedy, the right exit code, and the others go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.dataset import Dataset
from tests.end_to_end.conftest import CLIP, SHORT_FITS, command, told, write_manifest
from tests.support.clips import even_times, moving_blob, write_clip
from tests.support.fast_units import fast_run, write_clips


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory: pytest.TempPathFactory, demo_clip: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("this is not a video\n" * 100)
    (folder / "truncated.mp4").write_bytes(demo_clip.read_bytes()[:200_000])
    write_clip(folder / "nobody.mp4", moving_blob(), even_times(20))
    return {name: folder / f"{name}.mp4" for name in ("missing", "empty", "text", "truncated", "nobody")}


def test_bad_clips_become_failures_and_the_good_one_is_kept(
    bad_files: dict[str, Path], demo_clip: Path, tmp_path: Path
) -> None:
    rows = [{"clip_id": name, "source_id": name, "uri": str(path)} for name, path in bad_files.items()]
    manifest = write_manifest(tmp_path / "clips.csv", [*rows, CLIP | {"uri": str(demo_clip)}])
    done = command("pipeline", "run", manifest, "--out", tmp_path / "out", *SHORT_FITS)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    failures = {row["clip_id"]: row for row in Dataset.open(tmp_path / "out").rows("failures")}
    assert set(failures) == set(bad_files)
    for name, row in failures.items():
        assert str(bad_files[name]) in row["message"], row
        assert row["remedy"]
    assert failures["nobody"]["reason"] == "nobody-found"
    assert failures["missing"]["reason"] == "bad-source"
    assert {failures[name]["reason"] for name in ("empty", "text", "truncated")} == {"undecodable"}
    assert Dataset.open(tmp_path / "out").row_count("samples") > 0


def test_nothing_kept_is_exit_code_4(demo_clip: Path, tmp_path: Path) -> None:
    done = fast_run(write_clips(tmp_path / "clips", ["missing", "nobody"]), "--out", tmp_path / "out")
    assert done.returncode == 4, done.stdout + done.stderr
    assert done.stderr.count("failed: ") == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["pipeline", "run", "x.mp4", "--out", "o", "--set", "pairs.max_refs=3"], 2, "max_references"),
        (["pipeline", "run", "x.mp4", "--out", "o", "--workers", "0"], 2, "--workers"),
        (["pipeline", "run", "x.mp4", "--out", "o", "--", "--runner=DaskRunner"], 2, "DaskRunner"),
        (["pipeline", "run", "--out", "o"], 2, "required"),
        (["pipeline", "run", "no-such-folder/*.mp4", "--out", "o"], 1, "no-such-folder"),
        (["pipeline", "fetch", "no-such-asset"], 2, "no-such-asset"),
        (["pipeline", "audit", "no-such-dataset"], 1, "no-such-dataset"),
        (["pipeline", "dataset", "verify", "."], 1, "not a dataset"),
        (["trainer", "fit", "no-such-dataset", "--out", "o"], 1, "no-such-dataset"),
        (["trainer", "fit", "no-such-dataset", "--out", "o", "--set", "train.lr=1"], 2, "train.lr"),
        (["pipeline", "gallery", "no-such-dataset", "--out", "page.xyz"], 2, "does not end in .html"),
        (["trainer", "export", "--checkpoint", "nothing", "--out", "o.onnx"], 1, "it has no checkpoint.json"),
    ],
)
def test_usage_errors_are_one_line(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    ended, said = told(arguments, capsys)
    assert ended == code, said
    assert words in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("program", [["pipeline", "audit"], ["trainer", "fit", "--out", "o"]])
def test_a_process_ends_with_the_commands_code_and_words(program: list[str]) -> None:
    done = command(*program, "no-such-dataset")
    assert done.returncode == 1
    assert "no-such-dataset" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_models_are_named_before_any_work(
    tmp_path: Path, demo_clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HUMANDEPTH_CACHE", str(tmp_path / "empty-cache"))
    code, said = told(["pipeline", "run", demo_clip, "--out", tmp_path / "out"], capsys)
    assert code == 1
    assert "python -m pipeline fetch" in said
    assert not (tmp_path / "out").exists()
